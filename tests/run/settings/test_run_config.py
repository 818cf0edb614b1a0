import dataclasses
import tomllib
import tracemalloc

import pytest

from tinyq.command_line import naming_flags
from tinyq.errors import BadInput, UsageError
from tinyq.run.phases import method_of
from tinyq.run.settings import config
from tinyq.run.settings.docstrings import argument_texts
from tinyq.run.settings.flags import given, train_parser
from tinyq.run.settings.recipes import RECIPES
from tinyq.run.settings.resolve import resolve, to_toml
from tinyq.run.settings.toml_file import read_toml


def parsed(line):
    return given(train_parser().parse(line.split()))


def resolved(line="", **file):
    return resolve(parsed(line)[0], file)


def test_nothing_given_is_the_digits_recipe():
    c = resolved().config
    assert (c.recipe, c.model, c.data, c.method, c.levels) == ("digits-cbp", "digits_cnn", "digits", "cbp", "ternary")


@pytest.mark.parametrize("line, recipe", [
    ("--data mnist", "mnist-lenet-cbp"),
    ("--model lenet --data mnist --method cbp --levels binary", "mnist-lenet-cbp"),
    ("--method backprop", "digits-float"),
    ("--method rpr", "digits-rpr"),
    ("--method rpr --data mnist", "mnist-lenet-rpr"),
    ("--model mlp:30", "mnist-mlp"),
    ("--model resnet20", "cifar-resnet20-cbp"),
    ("--data iris", "iris-mlp"),
    ("--model lenet --data digits --method cbp", "none"),
    ("--recipe none --model lenet --data mnist --method cbp", "none"),
    ("--model resnet18 --data imagenet --method cbp", "cbp-paper"),
    ("--model googlenet:aux --data imagenet --method rpr", "rpr-paper"),
])
def test_the_first_recipe_that_agrees_is_taken(line, recipe):
    assert resolved(line).config.recipe == recipe


def test_flag_beats_file_beats_recipe_beats_default():
    assert resolved().config.batch_size == RECIPES["digits-cbp"]["batch_size"]
    assert resolved(batch_size=7).config.batch_size == 7
    both = resolved("-b 9", batch_size=7)
    assert both.config.batch_size == 9 and both.origins["batch_size"] == "flag"
    assert resolved().config.accumulate == 1 and "accumulate" not in resolved().origins


@pytest.mark.parametrize("name", [name for name in RECIPES if "model" in RECIPES[name]])
def test_every_recipe_resolves_and_its_toml_gives_the_same_settings(name, tmp_path):
    first = resolved(f"--recipe {name}")
    path = tmp_path / "c.toml"
    path.write_text(to_toml(first))
    again = resolve({}, read_toml(path))
    assert again.config == first.config
    assert to_toml(again).split("#")[0] == to_toml(first).split("#")[0]


def test_the_paper_recipe_keeps_the_published_numbers():
    c = resolved("--recipe cbp-paper --model lenet --data mnist").config
    assert (c.opt, c.lr, c.momentum, c.weight_decay, c.batch_size) == ("sgd", 1e-3, 0.9, 1e-4, 256)
    assert (c.options["cbp"]["lambda_lr"], c.options["cbp"]["period"]) == (1e-4, 20)
    with pytest.raises(UsageError, match="recipe cbp-paper leaves them to you"):
        resolved("--recipe cbp-paper")


def test_the_paper_recipe_of_rpr_keeps_the_published_numbers():
    c = resolved("--recipe rpr-paper --model lenet --data mnist").config
    assert (c.opt, c.lr, c.schedule, c.weight_decay) == ("adam", 1e-3, "constant", 0.0)
    assert c.options["rpr"] == {"fractions": "0.9,0.95,0.975,0.9875,1", "patience": 5, "period": 15, "final": 30}
    assert method_of(c).epochs == c.epochs and method_of(resolved("--method rpr --epochs 50").config).epochs == 50


def test_settings_of_their_own_reach_the_method_and_the_dataset():
    c = resolved("--cbp.lambda-lr 0.5 --cbp.g-max 30 --digits.padding 1 --digits.flip").config
    assert c.options["cbp"]["lambda_lr"] == 0.5 and c.options["cbp"]["g_max"] == 30 and c.options["cbp"]["period"] == 1
    assert c.options["digits"].items() >= {"split": 0, "validation": 180, "padding": 1, "flip": True}.items()


def test_weights_and_plain_backprop_need_no_pretraining_unless_it_is_asked_for():
    assert resolved().config.pretrain_epochs > 0
    assert resolved("--weights w.h5").config.pretrain_epochs == 0
    assert resolved("--weights w.h5 --pretrain-epochs 2").config.pretrain_epochs == 2
    assert resolved("--method backprop").config.pretrain_epochs == 0


@pytest.mark.parametrize("line, message", [
    ("--levels tenary", "did you mean 'ternary'"),
    ("--mehtod cbp", "did you mean '--method'"),
    ("--method cpb", "did you mean 'cbp'"),
    ("--model lnet", "did you mean 'lenet'"),
    ("--data mnsit", "did you mean 'mnist'"),
    ("--data .", "--data .: unknown; name a folder as ./; or choose from: "),
    ("--recipe digit-cbp", "did you mean 'digits-cbp'"),
    ("--opt sdg", "did you mean 'sgd'"),
    ("--pretrain-schedule cosin", "did you mean 'cosine'"),
    ("--constrain iner", "did you mean 'inner'"),
    ("--cbp.perod 3", "did you mean '--cbp.period'"),
    ("--epochs many", "--epochs many: must be a whole number"),
    ("--epochs 2.5", "--epochs 2.5: must be a whole number"),
    ("--epochs -1", "must be at least 0"),
    ("--lr 0", "must be above 0"),
    ("--lr nan", "must be finite"),
    ("--momentum 1", "must be below 1"),
    ("--seed 9223372036854775808", "must be below 9223372036854775808"),
    ("--cbp.period soon", "--cbp.period soon: must be a whole number"),
    ("--mnist.padding 2", "--mnist.padding: has no effect with --method cbp --data digits"),
    ("--method backprop --cbp.period 2", "has no effect"),
    ("--method backprop --levels binary", "--levels: has no effect with --method backprop"),
    ("--learning-rate 0.1", "--learning-rate: no such flag; did you mean '--lr'?"),
    ("--batch_size=64", "did you mean '--batch-size'?"),
    ("--LR 0.1", "did you mean '--lr'?"),
    ("--optimizer adam", "did you mean '--opt'?"),
    ("--device cpu", "--device: no such flag; see --help"),
    ("--verbose", "--verbose: no such flag; see --help"),
    ("--model zzz", "--model zzz: unknown; choose from: alexnet"),
    ("--epochs 99999999999", "--epochs 99999999999: must be at most 2147483647"),
    ("-j 1000000", "--workers 1000000: must be below 257"),
    ("--lr 1e400", "--lr 1e400: must be finite"),
    ("--momentum 0.5 --opt adam --pretrain-opt adam", "has no effect with --opt adam; only sgd has momentum"),
    ("--nesterov --opt adamw --pretrain-opt adam", "--nesterov: has no effect with --opt adamw and adam"),
    ("--schedule constant --pretrain-schedule constant --lr-gamma 0.5", "--lr-gamma: has no effect with --schedule"),
    ("--lr-patience 3", "--lr-patience: has no effect with --schedule constant and cosine; only plateau"),
    ("--schedule step --lr-steps 1,2", "--lr-steps 1,2: step takes one number"),
    ("--pretrain-lr 0.1 --pretrain-epochs 0", "--pretrain-lr: has no effect with 0 --pretrain-epochs"),
    ("--weights w.h5 --pretrain-opt adam", "--pretrain-opt: has no effect with 0 --pretrain-epochs"),
    ("--audit off --audit-every 5", "--audit-every: has no effect with --audit off"),
    ("--model lenet --data digits --epochs", "expected one argument"),
    ("--model lenet --data digits --method cbp surplus", "surplus: unexpected argument"),
    ("--model mine.py:net", "--data and --method: not given"),
])
def test_a_mistake_is_told_with_its_remedy(line, message):
    with pytest.raises(UsageError) as caught:
        resolved(line)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("key", ["model", "data", "method", "levels", "recipe", "opt", "schedule", "constrain", "audit",
                                 "lr-steps", "epochs", "lr", "seed", "cbp.period", "pretrain-opt"])
def test_an_empty_value_is_refused_before_anything_is_trained(key):
    with pytest.raises(UsageError, match=rf"^--{key}:? ") as caught:
        resolved(f"--{key}=")
    assert str(caught.value) == f"--{key}: is empty; give a value, or leave it out"


def test_an_empty_path_is_none():
    c = resolved("--weights= --output= --data-path=").config
    assert (c.weights, c.output, c.data_path) == (None, None, None)


def test_names_are_read_in_any_case_and_lists_may_begin_with_a_minus():
    c = resolved("--data MNIST --method CBP --model LeNet --levels Binary --opt SGD --pretrain-schedule Cosine").config
    assert (c.data, c.method, c.model, c.levels, c.opt) == ("mnist", "cbp", "lenet", "binary", "sgd")
    assert (c.pretrain_schedule, c.recipe) == ("cosine", "mnist-lenet-cbp")
    assert resolved("--levels -1,0,1").config.levels == "-1,0,1" == resolved("--levels=-1,0,1").config.levels
    assert resolved(data="IRIS", model="MLP:8").config.model == "mlp:8"


def test_a_flag_that_works_in_the_pretraining_alone_has_an_effect():
    assert resolved("--momentum 0.5 --opt adam --pretrain-opt sgd").config.momentum == 0.5
    assert resolved("--schedule step --lr-steps 4").config.lr_steps == "4"
    assert resolve({}, {"opt": "adam", "momentum": 0.5}).config.opt == "adam"       # a file may hold every setting


def test_an_unknown_setting_from_python_is_named():
    with pytest.raises(UsageError, match="learning_rate: no such setting; did you mean 'lr'"):
        resolve({"learning_rate": 0.1})


@pytest.mark.parametrize("text, message", [
    ("learning_rate = 3", "no setting named 'learning_rate'; did you mean 'lr'?"),
    ("zzz = 3", "no setting named 'zzz'; none of the "),
    ("epoch = 3", "no setting named 'epoch'; did you mean 'epochs'?"),
    ("[cbp]\nperiods = 3", "no setting named 'cbp.periods'; did you mean 'cbp.period'?"),
    ("epochs = 2.5", "epochs = 2.5: must be a whole number"),
    ("epochs = true", "epochs = True: must be a whole number"),
    ("nesterov = 1", "nesterov = 1: must be true or false"),
    ("lr = 'fast'", "lr = fast: must be a number"),
    ("[training]\nlr = 1", "no setting named 'training.lr'"),
])
def test_a_mistake_in_a_file_names_the_file_and_the_key(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_toml(path)
    assert str(path) in str(caught.value) and message in str(caught.value) and len(str(caught.value)) < 300


def test_a_file_that_is_no_toml_or_missing_is_bad_input(tmp_path):
    (tmp_path / "c.toml").write_text("epochs =")
    with pytest.raises(BadInput, match="not a TOML file"):
        read_toml(tmp_path / "c.toml")
    with pytest.raises(BadInput, match="cannot be read"):
        read_toml(tmp_path / "none.toml")


def test_a_whole_number_serves_as_a_number_and_a_list_as_a_text(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("lr = 1\nlevels = [-1, 0, 1]\nlr_steps = [3, 5]")
    c = resolve({}, read_toml(path)).config
    assert c.lr == 1.0 and isinstance(c.lr, float) and c.levels == "-1,0,1" and c.lr_steps == "3,5"


def test_printed_toml_says_where_each_value_is_from():
    lines = to_toml(resolved("--epochs 3", seed=4)).splitlines()
    assert "epochs = 3  # flag" in lines and "seed = 4  # file" in lines
    assert 'data = "digits"  # recipe digits-cbp' in lines and "accumulate = 1" in lines
    assert tomllib.loads("\n".join(lines))["cbp"]["period"] == 1


def test_every_setting_has_a_help_line_and_shows_its_default():
    text = train_parser().format_help()
    assert all("--" + name.replace("_", "-") in text for name in config.FIELDS)
    assert "batch norm" in text and "--cbp.period" in text and "resnet20" in text


def test_every_flag_has_a_help_text_and_a_line_of_its_own():
    parser = train_parser()
    actions = [action for action in parser._actions if action.option_strings]
    assert [a.option_strings for a in actions if not (a.help or "").partition("(default")[0].strip()] == []
    lines = [line for line in parser.format_help().splitlines() if line.startswith("  -")]
    names = [line.strip().partition("  ")[0].replace(",", "").split() for line in lines]
    assert all(sum(a.option_strings[-1] in found for found in names) == 1 for a in actions)
    assert len(lines) == len(actions)


def test_an_error_that_begins_with_a_parameter_names_its_flag():
    def command(argv):
        raise UsageError(argv[0])

    for text, says in (("levels x: no such set", "--levels x: no such set"),
                       ("cbp.g_max must be 1", "--cbp.g-max must be 1"), ("lr: too high", "--lr: too high"),
                       ("the network", "the network")):
        with pytest.raises(UsageError) as caught:
            naming_flags(command, train_parser)([text])
        assert str(caught.value).startswith(says)


def test_help_texts_come_from_the_arguments_of_a_docstring():
    def reader(path, flip):
        """Read something.

        Args:
            path: where it is.
            flip: mirror half
                of the images.

        Returns nothing.
        """

    assert argument_texts(reader) == {"path": "where it is.", "flip": "mirror half of the images."}
    assert argument_texts(len) == {}


def test_a_flag_that_takes_a_path_says_so_and_debug_is_listed():
    text = train_parser().format_help()
    assert all(f"{flag} PATH" in text for flag in ("--data-path", "--weights", "--output")) and "--debug" in text


def test_plain_backprop_has_no_levels():
    assert resolved("--method backprop").config.levels is None
    assert "# levels is not set" in to_toml(resolved("--method backprop"))


def test_settings_cannot_be_changed_once_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        resolved().config.lr = 1.0


DEEP = {"dotted": "cbp." + "a." * 20_000 + "b = 1", "quoted": 'cbp."a"' + ". 'a'" * 9_000 + " = 1",
        "table": "[" + "a." * 20_000 + "b]", "inline": "cbp = {" + "a." * 20_000 + "b = 1}",
        "after texts": 'levels = """a\\"""" # """\n' + "a." * 20_000 + "b = 1",
        "period": "cbp.period" + ".a" * 2_000 + "=1"}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_a_key_of_many_parts_is_refused_before_it_costs_memory(tmp_path, text):
    (tmp_path / "c.toml").write_text(text)
    tracemalloc.start()
    with pytest.raises(BadInput, match="c.toml: a key has more than three parts"):
        read_toml(tmp_path / "c.toml")
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_dots_within_texts_comments_and_numbers_are_no_keys(tmp_path):
    (tmp_path / "c.toml").write_text('model = "a.b.c.d.e.py:f" # a.b.c.d.e\nlr = 0.5\nlr_steps = [1.5, 2.5, 3.5, 4.5]\n'
                                     "data_path = '/x.y.z.w.v'\nlevels = '''\n.a.b.c.d'''\ncbp.period = 2\n")
    assert read_toml(tmp_path / "c.toml")["model"] == "a.b.c.d.e.py:f"


def test_a_configuration_is_small(tmp_path):
    (tmp_path / "c.toml").write_text("# comment\n" * 7_000)
    with pytest.raises(BadInput, match="c.toml: 70000 bytes, more than the limit of 65536"):
        read_toml(tmp_path / "c.toml")


@pytest.mark.parametrize("text", ["cbp.period.a = 1", "model = {a = 1}", "[levels]\na.b = 1", "weights.a = [1]"])
def test_a_table_is_no_setting(tmp_path, text):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError, match="c.toml: "):
        read_toml(tmp_path / "c.toml")
