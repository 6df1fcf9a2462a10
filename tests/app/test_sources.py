import sys

import pytest

from w2v2_mt.app.sources import TargetError, find_origin

PACKAGE = {
    "orchard/__init__.py": "from .fruit import Apple as Pome\nfrom orchard import fruit as fruit\n",
    "orchard/fruit.py": "class Apple: ...\n",
    "orchard/market/__init__.py": "from ..market.stall import *\nimport orchard.fruit as goods\n",
    "orchard/market/stall.py": (
        "raise RuntimeError('a module is read and not imported')\n"
        "try:\n"
        "    from orchard.fruit import Apple\n"
        "except ImportError:\n"
        "    Apple = None\n"
        "def sell(): ...\n"
    ),
}


@pytest.fixture
def orchard(tmp_path, monkeypatch):
    for name, source in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("orchard")
@pytest.mark.parametrize(
    ("dotted", "origin"),
    [
        ("orchard.fruit.Apple", "orchard.fruit.Apple"),
        ("orchard.Pome", "orchard.fruit.Apple"),
        ("orchard.market.sell", "orchard.market.stall.sell"),
        ("orchard.market.Apple", "orchard.fruit.Apple"),
        ("orchard.market.goods.Apple", "orchard.fruit.Apple"),
    ],
)
def test_a_name_is_followed_to_its_definition(dotted, origin):
    module, name = find_origin(dotted)
    assert f"{module.name}.{name}" == origin
    assert "orchard" not in sys.modules


@pytest.mark.usefixtures("orchard")
@pytest.mark.parametrize(
    ("dotted", "sentence"),
    [
        ("orchard.fruit.Aple", "orchard.fruit has no 'Aple'; did you mean 'Apple'?"),
        ("orchard.fruit.Zebra", "orchard.fruit has no 'Zebra'; correct the name."),
        ("orchard.markt.sell", "orchard has no 'markt'; did you mean 'market'?"),
        ("orchid.fruit.Apple", "there is no package 'orchid'; did you mean 'orchard'?"),
        ("orchard.fruit", "orchard.fruit is a module; name a class or a function in it."),
        ("orchard.market", "orchard.market is a module; name a class or a function in it."),
        (
            "orchard.fruit.Apple.peel",
            "orchard.fruit.Apple.peel is inside of Apple; name a class or a function of a module.",
        ),
        ("Apple", "'Apple' is no dotted name; write it as package.module.name."),
        ("orchard..Apple", "'orchard..Apple' is no dotted name; write it as package.module.name."),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(dotted, sentence):
    with pytest.raises(TargetError) as error:
        find_origin(dotted)
    assert str(error.value) == sentence


def test_a_re_export_of_a_large_package_is_followed():
    module, name = find_origin("torch.optim.Adam")
    assert (module.name, name) == ("torch.optim.adam", "Adam")
