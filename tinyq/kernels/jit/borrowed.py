"""Arrays that numba code may pass around without counting references."""
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def borrowed(_, arrays):
    """The same NamedTuple of arrays without their reference counts, whose upkeep costs more than a short loop.

    Something else must keep the arrays alive.
    """
    def generate(context, builder, signature, values):
        kept = []
        for kind, value in zip(arrays.types, cgutils.unpack_tuple(builder, values[0]), strict=True):
            view = context.make_array(kind)(context, builder, value)
            view.meminfo = cgutils.get_null_value(view.meminfo.type)
            kept.append(view._getvalue())
        return context.make_tuple(builder, signature.return_type, kept)
    return arrays(arrays), generate
