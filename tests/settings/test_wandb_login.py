import pytest

from w2v2_mt.settings.environment import find_wandb_login


@pytest.fixture
def environment(tmp_path):
    return {"NETRC": str(tmp_path / "netrc")}


def test_without_a_key_there_is_no_login(environment):
    assert find_wandb_login(environment) is None


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("WANDB_API_KEY", "k", "a key in WANDB_API_KEY"),
        ("WANDB_IDENTITY_TOKEN_FILE", "f", "a key in WANDB_IDENTITY_TOKEN_FILE"),
        ("WANDB_MODE", "offline", "WANDB_MODE=offline, no login needed"),
        ("WANDB_MODE", "disabled", "WANDB_MODE=disabled, no login needed"),
        ("WANDB_MODE", "online", None),
    ],
)
def test_a_variable_may_replace_a_login(environment, name, value, found):
    assert find_wandb_login({**environment, name: value}) == found


@pytest.mark.parametrize("server", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_the_key_of_a_login_is_found_for_its_server_only(environment, tmp_path, server):
    (tmp_path / "netrc").write_text(f"machine {server} login user password k\n")
    assert find_wandb_login(environment) == f"a login in {tmp_path / 'netrc'}"
    own_server = {**environment, "WANDB_BASE_URL": "https://wandb.example.org:8080"}
    assert find_wandb_login(own_server) is None


def test_a_login_on_a_server_of_ones_own_is_found_in_the_home_folder(tmp_path):
    (tmp_path / ".netrc").write_text("machine wandb.example.org login user password k\n")
    environment = {"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example.org"}
    assert find_wandb_login(environment) == f"a login in {tmp_path / '.netrc'}"
