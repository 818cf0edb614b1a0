"""All that is specific to a training method in the audit: one file per method, one row per method in the table."""
from tinyq.audit.methods.method_audit import MethodAudit, Metrics, Rules, UpdateTerms
from tinyq.audit.methods.method_table import audit_of

__all__ = ["MethodAudit", "Metrics", "Rules", "UpdateTerms", "audit_of"]
