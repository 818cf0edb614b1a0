"""Change a parameter of the last stage: one logit moves, the others stay (visit.py)."""
from tinyq.kernels.jit.compile import njit
from tinyq.kernels.search import unit_rows as rows
from tinyq.kernels.search.sample_error import FAR, error_of_all, error_of_one
from tinyq.kernels.search.tables import C_OUT, INPUT, KH, KW, NORMED, OH, OUTPUT, OW, RELU, SUMS


@njit
def moves_one_logit(stages, k):
    """Return True if stage k is the last, a full connection without batch norm or ReLU: a parameter moves one logit."""
    stage = stages[k]
    plain = stage[NORMED] == stage[SUMS] and not stage[RELU]
    return k == len(stages) - 1 and plain and stage[OH] * stage[OW] * stage[KH] * stage[KW] == 1


@njit
def try_logit(stage, change, steps, errors, source, kept, block_errors, labels, logit_scale, held, spare, first, last):
    """Add to errors (levels,) the errors of blocks first ... last - 1 if the parameter changes by steps (levels,).

    source, kept: (blocks, units, BLOCK) of the stage's input and of the logits; held: leaders, terms and references of
    Search; spare: units, leaders, terms, reference and spare of Scratch. The step of its present level is 0.
    """
    output, classes, logit = stage[OUTPUT], stage[C_OUT], stage[OUTPUT] + change.o
    leaders, terms, references = held
    units, spare_leaders, spare_terms, spare_reference, spare_rows = spare
    for b in range(first, last):
        moves = change.c < 0 or not rows.is_zero(source[b, stage[INPUT] + change.c])
        for j in range(len(errors)):
            if not moves or steps[j] == 0:
                errors[j] += block_errors[b]
                continue
            if change.c < 0:
                rows.add_constant(units[logit], kept[b, logit], steps[j])
            else:
                rows.add_product(units[logit], kept[b, logit], steps[j], source[b, stage[INPUT] + change.c])
            error = error_of_one(units, change.o, kept[b], output, classes, labels[b], logit_scale, leaders[b],
                                 terms[b], references[b], spare_rows)
            if error == FAR:
                for k in range(classes):
                    if k != change.o:
                        rows.copy(units[output + k], kept[b, output + k])
                error = error_of_all(units, output, classes, labels[b], logit_scale, spare_leaders, spare_terms,
                                     spare_reference, spare_rows)
            errors[j] += error
