"""A package of a user's, as text: its steps reach one helper in every way that there is."""

HELPER = "X = {factor}\n\ndef times(n):\n    return n * {factor}\n"
ADDED = {
    "shop/__init__.py": "def parents(n):\n    return n * {factor}\n",
    "shop/prices.py": HELPER,
    "shop/other.py": "def same(n):\n    return n\n",
    "shop/deep/__init__.py": "",
    "shop/deep/inner.py": HELPER,
    "shop/deep/alone.py": "def same(n):\n    return n\n",
    "shop/again/__init__.py": "from .inner import times\n",
    "shop/again/inner.py": HELPER,
    "shop/star.py": "def all_times(n):\n    return n * {factor}\n",
    "shop/lazy/__init__.py": """
import importlib

def __getattr__(name):
    if name == "times":
        return importlib.import_module(".inner", __name__).times
    raise AttributeError(name)
""",
    "shop/lazy/inner.py": HELPER,
    "shop/broken.py": HELPER + 'raise RuntimeError("there is no GPU here")\n',
    "shop/replaced.py": """
import sys

class Prices:
    def times(self, n):
        return n * {factor}

sys.modules[__name__] = Prices()
""",
    "shop/through.py": "from . import prices\n\ndef go(n):\n    return prices.times(n)\n",
    "shop/ring.py": "from . import other_ring\n\ndef go(n):\n    return other_ring.go(n)\n",
    "shop/other_ring.py": "from . import ring\n\nK = {factor}\n\ndef go(n):\n    return ring.go(n - 1) if n else K\n",
    "spaces/prices.py": HELPER,
    "feature.py": HELPER,
}
STEPS = """
import collections
import dataclasses
import functools
import importlib
import operator
import sys
import types

import feature
import feature as other_name
import shop
import shop.deep.inner
import spaces.prices
from shop import lazy
from shop.again import times as again_times
from shop.star import *


def package_and_module(n):
    from shop import prices
    return prices.times(n)


def package_and_module_under_another_name(n):
    from shop import prices as p
    return p.times(n)


def relative_module(n):
    from . import prices
    return prices.times(n)


def relative_name(n):
    from .prices import times
    return times(n)


def dotted_module(n):
    import shop.prices
    return shop.prices.times(n)


def dotted_module_under_another_name(n):
    import shop.prices as p
    return p.times(n)


def constant_of_an_inner_import(n):
    from shop.prices import X
    return X


def package_of_an_inner_import(n):
    import shop.other
    return shop.parents(n)


def chain_that_another_import_makes_possible(n):
    import shop
    return shop.deep.inner.times(n)


def namespace_package(n):
    from spaces import prices
    return prices.times(n)


def chain_through_a_namespace(n):
    return spaces.prices.times(n)


def chain(n):
    return shop.deep.inner.times(n)


def helper(n):
    from shop import prices
    return prices.times(n)


def in_a_helper(n):
    return helper(n)


def in_a_comprehension(n):
    from shop import prices
    return [prices.times(item) for item in range(n)]


def in_an_inner_function(n):
    def inner():
        from shop import prices
        return prices.times(n)
    return inner()


def in_an_inner_class(n):
    class Inner:
        from shop import prices as held
    return Inner.held.times(n)


def where_another_is_missing(n):
    try:
        from shop import missing as prices
    except ImportError:
        from shop import prices
    return prices.times(n)


def literal_import(n):
    return importlib.import_module("shop.prices").times(n)


def relative_literal_import(n):
    return importlib.import_module(".prices", "shop").times(n)


def dunder_import(n):
    return __import__("shop.prices", fromlist=["times"]).times(n)


def loaded_module(n):
    return sys.modules["shop.prices"].times(n)


def module_that_cannot_be_imported_here(n):
    from shop import broken
    return broken.times(n)


def module_that_puts_another_object_in_its_place(n):
    from shop import replaced
    return replaced.times(n)


def module_behind_a_module(n):
    from shop import through
    return through.go(n)


def modules_in_a_ring(n):
    from shop import ring
    return ring.go(n)


def attribute_that_a_module_makes(n):
    return lazy.times(n)


def reexported(n):
    return again_times(n)


def starred(n):
    return all_times(n)


def constant_of_a_module(n):
    return other_name.X


class Holder:
    held = feature

    def __init__(self):
        self.own = feature

    class Nested:
        held = feature

    @property
    def known(self):
        return self.own.times(1)

    @functools.cached_property
    def cached(self):
        return feature.times(1)

    @classmethod
    def of_class(cls, n):
        return cls.held.times(n)

    def __call__(self, n):
        return self.own.times(n)

    partly = functools.partialmethod(lambda self, module, n: module.times(n), feature)


class Heir(Holder):
    pass


class Slotted:
    __slots__ = ("held",)

    def __init__(self):
        self.held = feature


class Made(type):
    def __call__(cls, n):
        return feature.times(n)


class ByMade(metaclass=Made):
    pass


class Base:
    known = {}

    def __init_subclass__(cls):
        Base.known[cls.__name__] = cls


class Plugin(Base):
    def go(self, n):
        return feature.times(n)


class Descriptor:
    def __get__(self, owner, kind):
        return feature.times(1)


class Described:
    value = Descriptor()


@dataclasses.dataclass
class Data:
    value: int = dataclasses.field(default_factory=lambda: feature.times(1))


class OwnDict(dict):
    pass


class Pair(collections.namedtuple("Pair", "held")):
    pass


def with_module(module):
    def inner(n):
        return module.times(n)
    return inner


def uses(module, n):
    return module.times(n)


def wraps(function):
    @functools.wraps(function)
    def inner(*arguments):
        return feature.times(1)
    return inner


@functools.singledispatch
def dispatched(n):
    return 0


@dispatched.register
def _(n: int):
    return feature.times(n)


@functools.lru_cache
def remembered(n):
    return feature.times(n)


def yields():
    yield feature.times(1)


holder, slotted, own_dict = Holder(), Slotted(), OwnDict()
own_dict.held = feature
bound, closed = holder.of_class, with_module(feature)
partial, partial_function = functools.partial(uses, feature), functools.partial(feature.times)
several, by_name, nested, together, pair = [feature], {"first": feature}, ((feature,),), {feature, shop}, Pair(feature)
functions, made_when_missing = {"times": feature.times}, collections.defaultdict(lambda: feature.times)
get, ask = functions.get, operator.attrgetter("times")
space, queue, chained = types.SimpleNamespace(held=feature), collections.deque([feature]), collections.ChainMap({"a": feature})
wrapped, shown = wraps(print), lambda n: feature.times(n)
def marked(n): return 1
marked.held = feature
def reassigned(n): return 1
globals()["reassigned"] = feature.times


def class_attribute(n): return Holder.held.times(n)
def inherited_attribute(n): return Heir.held.times(n)
def attribute_of_an_instance(n): return holder.own.times(n)
def attribute_in_a_slot(n): return slotted.held.times(n)
def attribute_of_a_nested_class(n): return Holder.Nested.held.times(n)
def attribute_of_a_function(n): return marked.held.times(n)
def attribute_of_a_dictionary(n): return own_dict.held.times(n)
def in_a_property(n): return holder.known
def in_a_cached_property(n): return holder.cached
def in_a_partial_method(n): return holder.partly(n)
def in_a_bound_method(n): return bound(n)
def in_a_callable_object(n): return holder(n)
def in_a_metaclass(n): return ByMade(n)
def in_a_plugin(n): return Base.known["Plugin"]().go(n)
def in_a_descriptor(n): return Described().value
def in_a_default_factory(n): return Data().value
def in_a_list(n): return sum(module.times(n) for module in several)
def in_a_dictionary(n): return by_name["first"].times(n)
def in_a_tuple(n): return nested[0][0].times(n)
def in_a_named_tuple(n): return pair.held.times(n)
def in_a_set(n): return [module.times(n) for module in together]
def in_a_namespace(n): return space.held.times(n)
def in_a_queue(n): return queue[0].times(n)
def in_a_chain_of_dictionaries(n): return chained["a"].times(n)
def in_a_factory_of_missing_items(n): return made_when_missing[1](n)
def in_a_closure(n): return closed(n)
def in_a_default(n, module=feature): return module.times(n)
def in_a_default_by_name(n, *, module=feature): return module.times(n)
def in_a_partial(n): return partial(n)
def in_a_partial_function(n): return partial_function(n)
def in_a_lambda(n): return shown(n)
def in_a_generator(n): return list(yields())
def in_a_wrapper_of_another(n): return wrapped(n)
def in_a_cached_function(n): return remembered(n)
def in_a_single_dispatch(n): return dispatched(n)
def in_a_dictionary_of_functions(n): return functions["times"](n)
def in_a_method_of_a_dictionary(n): return get("times")(n)
def as_an_argument(n): return uses(feature, n)
def assigned_anew(n): return reassigned(n)
def by_a_text(n): return getattr(feature, "times")(n)
def by_a_text_that_is_made_up(n, name="times"): return getattr(feature, name)(n)
def by_a_text_that_is_made_up_of_modules_in_a_list(n, name="times"): return [getattr(m, name)(n) for m in several]
def by_a_getter(n): return ask(feature)(n)
def by_a_caller(n): return operator.methodcaller("times", n)(feature)
def by_its_dictionary(n): return feature.__dict__["times"](n)
async def in_a_coroutine(n): return feature.times(n)


def same_by_itself(n): return n + 1
def same_of_an_attribute_called_like_a_module(frame): return frame.prices
def same_in_a_module_beside(n):
    from shop import other
    return other.same(n)
"""
NOT_STEPS = {"helper", "with_module", "uses", "wraps", "dispatched", "yields", "marked", "reassigned", "remembered"}
TOLD = """
import importlib, json, sys, types
for name in sys.argv[1:]:
    importlib.import_module(name)
import shop.steps as steps
from noria.pipelines import code_digest
found = vars(steps).items()
print(json.dumps({n: code_digest(f) for n, f in found if isinstance(f, types.FunctionType) and f.__code__.co_name == n}))
"""
