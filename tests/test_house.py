"""How the house is built: which way imports run, what each package may import, and which names are promised."""

import ast
import functools
import graphlib
import importlib
import inspect
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import minigrad

ROOT = Path(__file__).parents[1]
PACKAGES = ("minigrad", "layers", "tutorials")


class Import(NamedTuple):
    """One name that a module imports: ``from module import name``, or ``import module`` if the name is None."""

    importer: str
    module: str
    name: str | None
    late: bool  # inside a function, so not when the importer is imported


def modules_in(root, packages):
    """The modules of some packages by their dotted names, with their files."""
    files = sorted(file for package in packages for file in (root / package).rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports_of(importer, file, seam=None):
    """All imports of a module that ever run: also those in functions, but not those for type checkers.

    Of the module that is called ``seam``, the last statement is left out.
    """
    package = importer.split(".") if file.name == "__init__.py" else importer.split(".")[:-1]

    def visit(nodes, late):
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (Import(importer, alias.name, None, late) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*above, *filter(None, [node.module])])
                yield from (Import(importer, module, alias.name, late) for alias in node.names)
            elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                yield from visit(node.orelse, late)
            else:
                inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                yield from visit(ast.iter_child_nodes(node), late or inside)

    body = parsed(file).body
    return list(visit(body[:-1] if importer == seam else body, late=False))


def parsed(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def runs(found, modules):
    """The modules that an import runs: the one it names, and the packages around that, but not the importer's own."""
    inner = f"{found.module}.{found.name}"
    target = inner if inner in modules else found.module
    parts = target.split(".")
    around = {".".join(parts[:end]) for end in range(1, len(parts))}
    own = {name for name in around if f"{found.importer}.".startswith(f"{name}.")}
    return ({target} | around - own) & set(modules)


def cycle_in(root, packages, seam=None):
    """Modules of which each imports the one before it and the first one is also the last; None if there are none."""
    modules = modules_in(root, packages)
    graph = {
        name: {target for found in imports_of(name, file, seam) for target in runs(found, modules)}
        for name, file in modules.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def outside(found):
    """The package that an import names, if it is neither Python's nor the importer's own; otherwise None."""
    package = found.module.split(".")[0]
    return None if package in sys.stdlib_module_names or package == found.importer.split(".")[0] else package


# The checker itself, on made-up packages.


def write(folder, **modules):
    """A package ``house`` of these modules; in their names __ stands for a dot."""
    for name, text in {"__init__": "", **modules}.items():
        file = folder.joinpath("house", *name.split("__")) if name != "__init__" else folder / "house" / "__init__"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".py").write_text(text, encoding="utf-8")


CYCLES = {
    "at the top": {"a": "from . import b", "b": "from .a import x"},
    "late, inside a function": {"a": "from .b import x", "b": "def f():\n    from . import a"},
    "late, inside a method": {"a": "from .b import x", "b": "class C:\n    def f(self):\n        import house.a"},
    "over three modules": {"a": "import house.b", "b": "from .c import x", "c": "from house.a import x"},
    "inside try": {"a": "from . import b", "b": "try:\n    from . import a\nexcept ImportError:\n    pass"},
    "where type checkers don't look": {
        "a": "from . import b",
        "b": "if TYPE_CHECKING:\n    pass\nelse:\n    from . import a",
    },
    "with the package itself": {"__init__": "from .a import x", "a": "def f():\n    from . import x"},
    "with oneself": {"a": "def f():\n    from .a import x"},
}


@pytest.mark.parametrize("modules", CYCLES.values(), ids=CYCLES)
def test_the_checker_finds_a_cycle(tmp_path, modules):
    write(tmp_path, **modules)
    assert cycle_in(tmp_path, ["house"])


STRAIGHT = {
    "in one direction": {"__init__": "from .a import x", "a": "from . import b", "b": "import os"},
    "that only type checkers follow": {
        "a": "from .b import x",
        "b": "if TYPE_CHECKING:\n    from .a import x",
    },
}


@pytest.mark.parametrize("modules", STRAIGHT.values(), ids=STRAIGHT)
def test_the_checker_passes_imports(tmp_path, modules):
    write(tmp_path, **modules)
    assert cycle_in(tmp_path, ["house"]) is None


def test_the_checker_leaves_out_the_last_statement_of_the_seam_and_no_other(tmp_path):
    write(tmp_path, a="from .b import x\ny = x", b="x = 1\nfrom . import a")
    assert cycle_in(tmp_path, ["house"], seam="house.a")
    assert cycle_in(tmp_path, ["house"], seam="house.b") is None


# The house.

SEAM = "minigrad.tensor"
IMPORTS = {
    package: [found for name, file in modules_in(ROOT, [package]).items() for found in imports_of(name, file)]
    for package in PACKAGES
}


def test_imports_run_one_way_but_for_the_one_seam():
    assert cycle_in(ROOT, PACKAGES, seam=SEAM) is None


def test_the_seam_is_the_last_statement_of_tensor_and_is_needed():
    last = parsed(ROOT / "minigrad" / "tensor.py").body[-1]
    assert ast.unparse(last) == "from . import autograd, ops, views"
    assert cycle_in(ROOT, ["minigrad"])


ALLOWED = {"minigrad": {"numpy"}, "layers": {"minigrad", "numpy"}}


@pytest.mark.parametrize("package", ALLOWED)
def test_importing_a_package_imports_no_others_than_it_may(package):
    at_once = {outside(found) for found in IMPORTS[package] if not found.late} - {None}
    assert at_once <= ALLOWED[package]


def test_only_a_figure_imports_matplotlib_and_only_when_somebody_draws():
    late = {(found.importer, outside(found)) for name in ALLOWED for found in IMPORTS[name] if found.late}
    assert {(importer, package) for importer, package in late if package and package != "numpy"} == {
        ("minigrad.views.figure", "matplotlib")
    }


PUBLIC = {
    "minigrad": {*minigrad.__all__, *minigrad.ops.__all__, "__version__"},
    "minigrad.extend": set(minigrad.extend.__all__),
    "minigrad.optim": {"SGD", "Adam"},
}


@pytest.mark.parametrize("package", ["layers", "tutorials"])
def test_only_public_names_of_minigrad_are_imported_by(package):
    of_minigrad = [found for found in IMPORTS[package] if found.module.split(".")[0] == "minigrad"]
    assert of_minigrad
    assert not [found for found in of_minigrad if found.name not in {None, *PUBLIC.get(found.module, ())}]
    assert {found.module for found in of_minigrad} <= set(PUBLIC)


# The names that others rely on. Taking one away breaks somebody's program.

TENSOR = """data grad requires_grad shape ndim size dtype T name item numpy detach backward zero_grad retain_grad tape
    __add__ __sub__ __mul__ __truediv__ __pow__ __matmul__ __neg__ __getitem__ __array_ufunc__
    __lt__ __le__ __gt__ __ge__ __eq__ __ne__
    exp log sqrt abs tanh sigmoid relu maximum minimum clip sum mean var max min matmul reshape transpose swapaxes
    expand_dims squeeze broadcast_to softmax log_softmax"""
PRIMITIVES = """exp log sqrt abs tanh sigmoid relu maximum minimum where clip sum mean var max min matmul reshape
    transpose swapaxes expand_dims squeeze broadcast_to concatenate stack softmax log_softmax"""
OPTIMIZER = "step zero_grad state_dict load_state_dict"
MODULE = """forward __call__ parameters named_parameters buffers named_buffers children modules named_modules apply
    train eval zero_grad requires_grad_ astype state_dict load_state_dict save load"""
PROMISED = {
    "minigrad": f"""Tensor no_grad gradcheck gradcheck_module GradcheckError Tape optim __version__ record array_of
        {PRIMITIVES}""",
    "minigrad.Tensor": TENSOR,
    "minigrad.Tape": "__len__ __iter__ __repr__ steps",
    "minigrad.extend": "record array_of convert floating if_needed mark_changed recording",
    "minigrad.optim": "SGD Adam",
    "minigrad.optim.SGD": OPTIMIZER,
    "minigrad.optim.Adam": OPTIMIZER,
    "layers": """Module Parameter Sequential Linear ReLU Sigmoid Tanh Dropout Flatten BatchNorm1d BatchNorm2d
        BatchNorm3d linear cross_entropy mse_loss batch_norm update_bn fold_batchnorm""",
    "layers.Module": MODULE,
}
PARAMETERS = {
    "minigrad.Tensor": "data requires_grad=False dtype=None name=None",
    "minigrad.Tensor.var": "self axis=None ddof=0 keepdims=False",
    "minigrad.Tape.steps": "self gradient=None",
    "minigrad.gradcheck": "fn inputs * eps=1e-06 atol=1e-05 rtol=0.001 raise_exception=True",
    "minigrad.gradcheck_module": "module *inputs",
    "minigrad.optim.SGD": "params lr momentum=0.0 weight_decay=0.0 nesterov=False",
    "minigrad.optim.Adam": "params lr=0.001 betas=(0.9,0.999) eps=1e-08 weight_decay=0.0",
    "layers.Linear": "in_features out_features bias=True * dtype=float32 rng=None",
    "layers.Dropout": "p=0.5 rng=None",
    "layers.BatchNorm1d": """num_features eps=1e-05 momentum=0.1 affine=True track_running_stats=True * bias=True
        channels_last=False dtype=float32""",
    "layers.cross_entropy": "logits targets",
    "layers.batch_norm": """x running_mean running_var weight=None bias=None training=False momentum=0.1 eps=1e-05 *
        channels_last=False""",
    "layers.update_bn": "model batches",
    "layers.fold_batchnorm": "model",
    "layers.Module.train": "self mode=True",
    "layers.Module.load_state_dict": "self state strict=True",
}


def named(path):
    """What a dotted name stands for."""
    package, *names = path.split(".")
    return functools.reduce(getattr, names, importlib.import_module(package))


@pytest.mark.parametrize(("owner", "names"), PROMISED.items(), ids=PROMISED)
def test_every_promised_name_is_there(owner, names):
    missing = [name for name in names.split() if not hasattr(named(owner), name)]
    assert not missing


@pytest.mark.parametrize("module", ["minigrad", "minigrad.extend", "layers"])
def test_every_name_that_a_module_exports_is_there_and_listed_once(module):
    names = named(module).__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(named(module), name) for name in names)


def test_python_s_own_functions_stay_what_they_are_after_importing_everything():
    assert {"abs", "max", "min", "sum"}.isdisjoint(minigrad.__all__)


@pytest.mark.parametrize(("path", "parameters"), PARAMETERS.items(), ids=PARAMETERS)
def test_promised_arguments_have_their_names_order_and_defaults(path, parameters):
    shown, starred = [], False
    for parameter in inspect.signature(named(path)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown, starred = [*shown, "*"], True
        default = parameter.default
        default = default.__name__ if isinstance(default, type) else str(default).replace(" ", "")
        name = f"*{parameter.name}" if parameter.kind is parameter.VAR_POSITIONAL else parameter.name
        shown.append(name if parameter.default is parameter.empty else f"{name}={default}")
    assert shown == parameters.split()
