"""Code that is only linked into other code: not optimised in full by itself, nor made into machine code.

numba makes machine code of every function that it compiles, and for a parallel loop three times more of its body, each
time with all that it calls. Of all that only what Python calls is run.
"""
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering, NativeParforLowering

_LOOP = "gufunc"                # in the names of what numba makes of a parallel loop: its body and two wrappers


class _LinkedLibrary(JITCodeLibrary):
    """A library of LLVM code to link into others."""

    def _optimize_final_module(self):
        """Only what numba begins with: the code is optimised in full where it ends up."""
        passes, builder = self._codegen._module_pass_manager(loop_vectorize=False, slp_vectorize=False,
                                                             opt=self._codegen._opt_level, cost="cheap")
        passes.run(self._final_module, builder)

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True                  # here numba adds the code to what can be run

    @property
    def codegen(self):
        """Asked for only to give machine code its environment. A part gets none: it must not format a message."""
        return self

    def set_env(self, name, environment):
        """Nothing to do."""


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerPart(NativeLowering):
    _name = "tinyq_lower_part"

    def run_pass(self, state):
        """Lower to a library that others link."""
        state.library = _LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerParallel(NativeParforLowering):
    _name = "tinyq_lower_parallel"

    def run_pass(self, state):
        """Lower a function with parallel loops, whose bodies it links."""
        codegen = state.targetctx.codegen()
        state.library = codegen.create_library(state.func_id.func_qualname)
        state.library.enable_object_caching()
        usual = codegen.create_library
        codegen.create_library = lambda name: _LinkedLibrary(codegen, name) if _LOOP in name.lower() else usual(name)
        try:
            return super().run_pass(state)
        finally:
            del codegen.create_library              # the class's own is there again


def _compiler(usual, ours):
    """numba's compiler with one pass replaced."""
    class Compiler(CompilerBase):
        def define_pipelines(self):
            passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
            passes.passes = [(ours if step is usual else step, text) for step, text in passes.passes]
            passes.finalize()
            return [passes]

    return Compiler


PART, PARALLEL = _compiler(NativeLowering, _LowerPart), _compiler(NativeParforLowering, _LowerParallel)
