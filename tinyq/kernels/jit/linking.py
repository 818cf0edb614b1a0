"""Compile functions that are only linked into others: neither fully optimised nor turned into machine code themselves.

numba makes machine code of every function that it compiles, and three times more of the body of a parallel loop, each
time with everything it calls. Only the functions that Python calls are ever run.
"""
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering, NativeParforLowering

_LOOP = "gufunc"                # in the names of what numba makes of a parallel loop: its body and two wrappers


class _LinkedLibrary(JITCodeLibrary):
    """A library of LLVM code to link into others."""

    def _optimize_final_module(self):
        """Run only numba's first passes: the code is fully optimised where it is linked."""
        passes, builder = self._codegen._module_pass_manager(loop_vectorize=False, slp_vectorize=False,
                                                             opt=self._codegen._opt_level, cost="cheap")
        passes.run(self._final_module, builder)

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True                  # numba would add the code to the executable code here

    @property
    def codegen(self):
        """Stand in for the code generator, whose set_env parts do not need, because they format no message."""
        return self

    def set_env(self, name, environment):
        """Do nothing."""


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
            del codegen.create_library              # back to the class's own


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
