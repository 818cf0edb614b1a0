"""List the methods that the audit checks beyond their gradient, and add one."""
from tinyq.audit.methods import cbp, conntra, rpr
from tinyq.audit.methods.method_audit import MethodAudit
from tinyq.methods import register as register_method

GRADIENT_ONLY = MethodAudit()
# By class name.
AUDITS: dict[str, MethodAudit] = {"Backprop": GRADIENT_ONLY, "CBP": cbp.AUDIT, "RPR": rpr.AUDIT,
                                  "CoNNTrA": conntra.AUDIT}


def audit_of(class_name: str) -> MethodAudit:
    """Return the row of a method's class, by its name in ledgers; a class without a row gets plain backprop's."""
    return AUDITS.get(class_name, GRADIENT_ONLY)


def register(name: str, method: type, audit: MethodAudit = GRADIENT_ONLY) -> None:
    """Add a training method: as --method `name` with its constructor's settings, and in the audit.

    ValueError if the name or the class name is taken.
    """
    if method.__name__ in AUDITS:
        raise ValueError(f"method {name}: the class name {method.__name__} is taken; choose another")
    register_method(name, method)
    AUDITS[method.__name__] = audit
