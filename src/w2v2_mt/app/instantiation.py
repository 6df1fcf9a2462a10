"""From a block with `_target_` to what it names: the only place where that happens."""

from typing import Any

from hydra.utils import get_object

Config = dict[str, Any]


def instantiate(node: Config, **injected: Any) -> Any:
    """Call what `_target_` names with the other keys of the node, nested nodes built first.

    Hydra's own function wraps every error; here the sentence of a ValueError reaches the user as it
    is.
    """
    arguments = {
        name: instantiate(value) if isinstance(value, dict) and "_target_" in value else value
        for name, value in node.items()
        if name != "_target_"
    }
    return get_object(node["_target_"])(**{**arguments, **injected})
