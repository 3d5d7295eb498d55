"""The CUDA kernels, executed on the CPU by the emulator, against their specs."""

import pytest
from hypothesis import given, settings

from tests.backend.kernel_cases import CASES, DTYPES, check, settings_of_a_case
from tests.standin.on_host import COMPILER

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler on Linux")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=4)
@given(drawn=settings_of_a_case())
def test_a_kernel_is_its_spec(case, dtype, drawn):
    check(case, dtype, drawn, "standin")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=60)
@given(drawn=settings_of_a_case())
def test_a_kernel_is_its_spec_in_many_cases(case, dtype, drawn):
    check(case, dtype, drawn, "standin")
