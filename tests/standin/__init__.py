"""The device "standin": the CUDA backend, computing with a module that stands in for CuPy."""

from tinygrad_attn.backend import register_backend
from tinygrad_attn.backend.cuda import CudaBackend

from . import fake_cublas, fake_cupy

backend = register_backend(CudaBackend(fake_cupy, fake_cupy.special, fake_cublas, "standin"))
