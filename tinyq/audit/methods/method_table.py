"""List the methods that the audit checks beyond their gradient; a method of a plug-in brings its own row."""
from tinyq.audit.methods import bwn, cbp, conntra, lqnets, rpr, ste, twn
from tinyq.audit.methods.method_audit import MethodAudit
from tinyq.errors import UsageError
from tinyq.methods import METHODS

GRADIENT_ONLY = MethodAudit()
# By class name.
AUDITS: dict[str, MethodAudit] = {"Backprop": GRADIENT_ONLY, "CBP": cbp.AUDIT, "RPR": rpr.AUDIT,
                                  "CoNNTrA": conntra.AUDIT, "STE": ste.AUDIT, "BWN": bwn.AUDIT, "TWN": twn.AUDIT,
                                  "LQNets": lqnets.AUDIT}


def audit_of(class_name: str) -> MethodAudit:
    """Return the row of a method's class, by its name in ledgers; a class without a row gets plain backprop's."""
    return AUDITS.get(class_name) or own_audit(class_name) or GRADIENT_ONLY


def own_audit(class_name: str) -> MethodAudit | None:
    """Return the `audit` of a class that does not come with tinyq; None where it has none or is unknown here."""
    if class_name in AUDITS:
        return None
    for method in METHODS.values():
        audit = getattr(method, "audit", None)
        if isinstance(method, type) and method.__name__ == class_name and audit is not None:
            if not isinstance(audit, MethodAudit):
                raise UsageError(f"method {class_name}: its audit is a {type(audit).__name__}, not a "
                                 "tinyq.audit.methods.MethodAudit")
            return audit
    return None


def is_known(class_name: str) -> bool:
    """Return True for the class of a method that comes with tinyq, or with a plug-in that runs here."""
    return class_name in AUDITS or any(isinstance(method, type) and method.__name__ == class_name
                                       for method in METHODS.values())
