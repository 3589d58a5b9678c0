"""Settings by environment variables."""

from __future__ import annotations

import warnings

import pytest

from symc.core import config


def test_a_variable_that_no_setting_has_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMC_NUM_THREAD", "1")
    config._warn_of_unknown.cache_clear()
    with pytest.warns(UserWarning, match="SYMC_NUM_THREAD has no effect; did you mean SYMC_NUM_THREADS"):
        config.setting("SYMC_NUM_THREADS")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config.setting("SYMC_NUM_THREADS")
