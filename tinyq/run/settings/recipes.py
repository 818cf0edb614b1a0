"""Recipes: named settings, as a configuration file would hold them. The first that agrees is the default."""

# The float networks. A constrained run trains them first, under the --pretrain- names.
_DIGITS = dict(model="digits_cnn", data="digits", batch_size=32, opt="sgd", momentum=0.9,
               epochs=20, lr=0.05, weight_decay=5e-4, schedule="cosine", warmup=0.0)
_LENET = dict(model="lenet", data="mnist", batch_size=64, opt="sgd", momentum=0.9,
              epochs=15, lr=0.02, weight_decay=5e-4, schedule="cosine", warmup=0.0,
              mnist=dict(padding=2, validation=0))           # no step looks at validation, so it is trained on
_RESNET20 = dict(model="resnet20", data="cifar10", batch_size=128, opt="sgd", momentum=0.9,
                 epochs=100, lr=0.1, weight_decay=5e-4, schedule="cosine", warmup=0.0)

# RPR's own schedule multiplies the rate of --schedule, which therefore stays constant.
_RPR = dict(opt="adam", lr=1e-3, weight_decay=0.0, schedule="constant")

# Inputs without rounding, and every parameter discrete: CoNNTrA then computes in integers.
_WHOLE_LOGISTIC = dict(model="logistic", data="mnist", constrain="all", batch_size=64, opt="sgd", momentum=0.9,
                       epochs=5, lr=0.05, weight_decay=1e-4, schedule="cosine", warmup=0.0,
                       mnist=dict(validation=0, whole=True))
_WHOLE_LENET = dict(_LENET, constrain="all", mnist=dict(padding=2, validation=0, whole=True))
_WHOLE_IRIS = dict(model="mlp:8,16", data="iris", constrain="all", batch_size=16, opt="adam", epochs=100, lr=0.01,
                   weight_decay=0.0, schedule="cosine", warmup=0.0, iris=dict(validation=0, whole=True))
_WHOLE_DIGITS = dict(model="mlp:64", data="digits", constrain="all", batch_size=32, opt="sgd", momentum=0.9,
                     epochs=30, lr=0.05, weight_decay=5e-4, schedule="cosine", warmup=0.0, digits=dict(whole=True))

_PRETRAIN = ("epochs", "opt", "lr", "weight_decay", "schedule", "warmup")

# Methods that follow the gradient straight through, each with its own levels.
_STRAIGHT = {"ste": "ternary", "bwn": "binary", "twn": "ternary", "lqnets": "-3,-1,1,3"}


def _then(float_network: dict, **method) -> dict:
    """The float network's settings as pretraining, followed by those of a method."""
    renamed = {f"pretrain_{key}" if key in _PRETRAIN else key: value for key, value in float_network.items()}
    return {**renamed, **method}


RECIPES: dict[str, dict] = {
    "digits-cbp": _then(_DIGITS, method="cbp", levels="ternary", opt="sgd", epochs=20, lr=0.01, weight_decay=1e-4,
                        schedule="constant", cbp=dict(lambda_lr=2e-2, period=1)),
    "digits-rpr": _then(_DIGITS, method="rpr", levels="ternary", **_RPR, epochs=30),
    "digits-float": dict(_DIGITS, method="backprop"),
    "mnist-lenet-cbp": _then(_LENET, method="cbp", levels="ternary", opt="sgd", epochs=12, lr=0.01,
                             weight_decay=1e-4, schedule="cosine", cbp=dict(lambda_lr=1e-2, period=1)),
    "mnist-lenet-rpr": _then(_LENET, method="rpr", levels="ternary", **_RPR, epochs=30),
    "mnist-lenet-float": dict(_LENET, method="backprop"),
    "cifar-resnet20-cbp": _then(_RESNET20, method="cbp", levels="ternary", opt="sgd", epochs=60, lr=0.01,
                                weight_decay=1e-4, schedule="cosine", cbp=dict(lambda_lr=1e-2, period=3)),
    "cifar-resnet20-rpr": _then(_RESNET20, method="rpr", levels="ternary", **_RPR, epochs=60),
    "cifar-resnet20-float": dict(_RESNET20, method="backprop"),
    "mnist-logistic": dict(model="logistic", data="mnist", method="backprop", batch_size=64, opt="sgd", epochs=10,
                           lr=0.05, weight_decay=0.0, schedule="cosine"),
    "mnist-mlp": dict(model="mlp:300,100", data="mnist", method="backprop", batch_size=64, opt="sgd", epochs=15,
                      lr=0.05, weight_decay=5e-4, schedule="cosine"),
    "iris-mlp": dict(model="mlp:8,16", data="iris", method="backprop", batch_size=16, opt="adam", epochs=100, lr=0.01,
                     weight_decay=0.0, schedule="cosine"),
    "mnist-logistic-conntra": _then(_WHOLE_LOGISTIC, method="conntra", levels="ternary", epochs=8,
                                    conntra=dict(surrogate=7, inverse_temperature=1.4)),
    "mnist-lenet-conntra": _then(_WHOLE_LENET, method="conntra", levels="ternary", epochs=1,
                                 conntra=dict(surrogate=1, subset=6000)),
    "iris-conntra": _then(_WHOLE_IRIS, method="conntra", levels="ternary", epochs=60, conntra=dict(surrogate=50)),
    "digits-conntra": _then(_WHOLE_DIGITS, method="conntra", levels="ternary", epochs=10, conntra=dict(surrogate=6)),
    # The published settings of CBP (methods/README.md, section 1), for any network.
    "cbp-paper": dict(data="imagenet", method="cbp", opt="sgd", momentum=0.9, lr=1e-3, weight_decay=1e-4,
                      batch_size=256, epochs=1000, schedule="constant", pretrain_epochs=0,
                      cbp=dict(lambda_lr=1e-4, period=20)),
    # The published settings of RPR (methods/README.md, section 2): 45 epochs between the first fraction and 1, 30 at 1,
    # and up to 125 at 0.9, where the paper's run took 37. Its batch size is not published.
    "rpr-paper": dict(data="imagenet", method="rpr", **_RPR, batch_size=256, epochs=200, pretrain_epochs=0,
                      rpr=dict(fractions="0.9,0.95,0.975,0.9875,1", patience=5, period=15, final=30),
                      imagenet=dict(preprocessing="rpr")),
}

for _method, _levels in _STRAIGHT.items():
    _own = dict(method=_method, levels=_levels, opt="adam", lr=1e-3, weight_decay=0.0, schedule="cosine")
    RECIPES |= {f"digits-{_method}": _then(_DIGITS, **_own, epochs=30),
                f"mnist-lenet-{_method}": _then(_LENET, **_own, epochs=30),
                f"cifar-resnet20-{_method}": _then(_RESNET20, **_own, epochs=60)}
