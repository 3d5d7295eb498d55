"""Calls that must be refused, one a line, with the error that each must raise.

    python -m tests.bad_calls             print what every call is told
    python -m tests.bad_calls --update    write that to bad_calls.golden.txt, to be read as a diff

A line of the table is: the class of the error, the op in whose name it speaks, the call. Where the
fault is an option and not a tensor, its name stands behind the op: ``dropout:p``.
"""

import copy
import math
import operator
import pickle
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tinygrad_attn as ta
from tests import standin
from tinygrad_attn import nn, optim
from tinygrad_attn.models import GPT, GPTConfig

__all__ = ["CALLS", "GOLDEN", "STANDIN", "BadCall", "golden_text"]

STANDIN = standin.backend.name
GOLDEN = Path(__file__).with_suffix(".golden.txt")

HEAD = """\
What each call of bad_calls.py is told; written by `python -m tests.bad_calls --update`.

f(2, 3) is a float32 tensor of that shape, i one of int64, b one of booleans, g one that requires a
gradient; there(2, 3) is on another device, and q() is f(1, 2, 3).
"""

TABLE = """
# Arithmetic
ShapeError      add                     f(2, 3) + f(4)
ShapeError      subtract                f(2, 3) - f(3, 2)
ShapeError      multiply                f(2, 3) * f(2)
ShapeError      divide                  f(2, 3) / f(2)
ShapeError      power                   ta.power(f(2, 3), f(4))
ShapeError      lerp                    ta.lerp(f(2), f(3), 0.5)
ShapeError      add                     ta.add(f(2), [1, 2, 3])
DeviceError     add                     f(2) + there(2)
DTypeError      add                     f(2) + None
DTypeError      add                     f(2) + "a"
DTypeError      add                     ta.add(f(2), 1j)
DTypeError      add                     ta.add(f(2), np.array([1j, 2]))
DTypeError      add                     ta.add(f(2), {"a": 1})
ShapeError      add:lists               ta.add(f(2), [[1], [1, 2]])
DTypeError      add                     ta.add([f(2), f(2)], 1)
DTypeError      add                     i(2) + 2**70
DTypeError      exp:x                   ta.exp(None)
DTypeError      sqrt                    ta.sqrt("a")
DTypeError      log                     ta.log([1.0, None])
DTypeError      copy:x                  ta.copy(None)
DTypeError      negative                -b(2)
DTypeError      subtract                b(2) - b(2)
ShapeError      power                   ta.power(i(2), -1)
ShapeError      power                   ta.power(i(2), i(2) - 1)
ShapeError      remainder               i(2) % 0
ShapeError      floor_divide            i(2) // i(2)
DTypeError      round:decimals          ta.round(f(2), 1.5)
TypeError       add                     ta.add(f(2))
TypeError       add                     ta.add(f(2), f(2), f(2))
TypeError       add                     ta.add(f(2), c=f(2))
TypeError       add                     ta.add(f(2), a=f(2))
TypeError       exp                     ta.exp(f(2), axis=1)

# Choices, comparisons, logic
ShapeError      maximum                 ta.maximum(f(2), f(3))
DTypeError      maximum                 ta.maximum(f(2), None)
ShapeError      where                   ta.where(b(2), f(3), f(2))
DTypeError      where                   ta.where("a", f(2), f(2))
DeviceError     where                   ta.where(b(2), there(2), f(2))
ShapeError      clip                    ta.clip(f(2))
ShapeError      clip                    ta.clip(f(2), f(3))
DTypeError      clip                    ta.clip(f(2), 0, "a")
TypeError       clip                    f(2).clip(low=0)
DTypeError      nan_to_num:nan          ta.nan_to_num(f(2), nan="a")
ShapeError      equal                   f(2) == f(3)
ShapeError      less                    f(2) < f(3)
DTypeError      less                    f(2) < "a"
DTypeError      less                    f(2) < None
DeviceError     less                    ta.less(f(2), there(2))
ShapeError      isclose                 ta.isclose(f(2), f(3))
DTypeError      isnan                   ta.isnan("a")
DTypeError      isnan                   ta.isnan(np.array(["a"]))
ShapeError      logical_and             ta.logical_and(f(2), f(3))
DTypeError      bitwise_and             f(2) & f(2)
DTypeError      invert                  ~f(2)
ShapeError      bitwise_or              b(2) | b(3)
ShapeError      hypot                   ta.hypot(f(2), f(3))
ShapeError      arctan2                 ta.arctan2(f(2), f(3))
ShapeError      logaddexp               ta.logaddexp(f(2), f(3))
ShapeError      xlogy                   ta.xlogy(f(2), f(3))

# Activations
DTypeError      relu:x                  ta.relu(None)
DTypeError      silu:x                  ta.silu(None)
ShapeError      swiglu:shapes           ta.swiglu(f(2, 3), f(3))
ShapeError      leaky_relu              ta.leaky_relu(f(2), f(3))
DTypeError      elu                     ta.elu(f(2), None)
DTypeError      gelu:approximate        ta.gelu(f(2), "relu")
DTypeError      gelu:approximate        ta.gelu(f(2), np.ones(2))
ShapeError      glu                     ta.glu(f(2, 3))
ShapeError      glu                     ta.glu(f(2, 4), 5)
ShapeError      glu                     ta.glu(f())
ShapeError      logit:eps               ta.logit(f(2), 0.7)
ShapeError      softmax                 ta.softmax(f(2, 3), 2)
ShapeError      softmax                 ta.softmax(f(), 0)
DTypeError      softmax:axis            ta.softmax(f(2), axis=None)
TypeError       softmax                 ta.softmax(f(2), dim=0)
ShapeError      log_softmax             ta.log_softmax(f(2, 3), -3)
ShapeError      dropout:p               ta.dropout(f(2), 1.5)
DTypeError      dropout:p               ta.dropout(f(2), "a")
DTypeError      dropout:generator       ta.dropout(f(2), generator=3)

# Reductions
ShapeError      sum                     ta.sum(f(2, 3), axis=2)
ShapeError      sum                     ta.sum(f(2, 3), axis=(0, -2))
DTypeError      sum:axis                ta.sum(f(2, 3), axis=1.0)
DTypeError      sum:axis                ta.sum(f(2, 3), axis=f(1))
ShapeError      sum                     ta.sum(f(), axis=0)
DTypeError      sum                     ta.sum("abc")
DTypeError      sum                     ta.sum(None)
ShapeError      sum                     ta.sum([1, [2, 3]])
DTypeError      sum                     ta.sum([f(2), f(2)])
TypeError       sum                     ta.sum(f(2, 3), dim=0)
ShapeError      mean                    f(2, 3).mean(axis=-3)
ShapeError      prod                    ta.prod(f(2), axis=1)
ShapeError      max                     ta.max(f(0))
ShapeError      max                     ta.max(f(2, 0), axis=1)
DTypeError      max:axis                ta.max(f(2), f(2))
ShapeError      argmax                  ta.argmax(f(0))
DTypeError      argmax:axis             ta.argmax(f(2, 3), axis=(0, 1))
ShapeError      var                     ta.var(f(2), axis=1)
DTypeError      var:correction          ta.var(f(2), correction="a")
DTypeError      std:correction          ta.std(f(2), correction=f(1))
TypeError       var                     ta.var(f(2), ddof=1)
DTypeError      norm:ord                ta.norm(f(2), "fro")
DTypeError      norm:ord                ta.norm(f(2), ord=nan)
ShapeError      norm                    ta.norm(f(0), ord=inf)
ShapeError      norm                    ta.norm(f(2), axis=(0, 1))
ShapeError      logsumexp               ta.logsumexp(f(2), axis=1)
ShapeError      nansum                  ta.nansum(f(2), axis=1)
ShapeError      nanmean                 ta.nanmean(f(2), axis=1)
ShapeError      any                     ta.any(f(2), axis=1)
ShapeError      count_nonzero           ta.count_nonzero(f(2, 3), axis=(1, 1))
ShapeError      cumsum                  ta.cumsum(f(2, 3), axis=2)
DTypeError      cumsum:axis             ta.cumsum(f(2, 3), axis=(0, 1))
ShapeError      cumprod                 ta.cumprod(f(), axis=0)

# Shapes
ShapeError      reshape                 ta.reshape(f(2, 3), (4, 2))
ShapeError      reshape                 ta.reshape(f(2, 3), (4, -1))
ShapeError      reshape                 ta.reshape(f(2, 3), (-1, -1))
DTypeError      reshape                 ta.reshape(f(2, 3), (2, 3.0))
DTypeError      reshape                 ta.reshape(f(2, 3), None)
ShapeError      reshape                 f(0).reshape(0, -1)
ShapeError      flatten                 ta.flatten(f(2, 3), 1, 0)
TypeError       flatten                 ta.flatten(f(2, 3), start_dim=1)
ShapeError      unflatten               ta.unflatten(f(6), 0, (4, 2))
ShapeError      unflatten               ta.unflatten(f(6), 0, (4, -1))
ShapeError      squeeze                 ta.squeeze(f(2, 1), 0)
ShapeError      expand_dims             ta.expand_dims(f(2), 3)
ShapeError      expand_dims             ta.expand_dims(f(2), (0, 0))
ShapeError      transpose               ta.transpose(f(2, 3), (0, 0))
ShapeError      transpose               ta.transpose(f(2, 3), 0, 1, 2)
ShapeError      swapaxes                ta.swapaxes(f(2, 3), 0, 2)
ShapeError      moveaxis                ta.moveaxis(f(2, 3), (0, 1), 0)
ShapeError      matrix_transpose        f(2).mT
ShapeError      flip                    ta.flip(f(2, 3), (0, 0))
ShapeError      roll                    ta.roll(f(2, 3), (1, 2), 0)
DTypeError      roll:shift              ta.roll(f(2, 3), 1.5)
ShapeError      broadcast_to            ta.broadcast_to(f(2), (3,))
ShapeError      broadcast_to            ta.broadcast_to(f(2), (2, -1))
ShapeError      broadcast_arrays        ta.broadcast_arrays(f(2), f(3))
DTypeError      broadcast_arrays        ta.broadcast_arrays(f(2), None)
ShapeError      concatenate             ta.concatenate([])
ShapeError      concatenate             ta.concatenate([f(2, 3), f(2, 4)])
ShapeError      concatenate             ta.concatenate([f(2, 3), f(3)])
ShapeError      concatenate             ta.concatenate([f()])
DeviceError     concatenate             ta.concatenate([f(2), there(2)])
DTypeError      concatenate             ta.concatenate([f(2), None])
DTypeError      concatenate:xs          ta.concatenate(3)
DTypeError      concatenate:axis        ta.concatenate(f(2), f(3))
ShapeError      stack                   ta.stack([f(2), f(3)])
ShapeError      stack                   ta.stack([f(2)], 2)
ShapeError      split                   ta.split(f(5), 2)
DTypeError      split:parts             ta.split(f(5), 2.5)
ShapeError      split                   ta.split(f(5), 5, axis=1)
ShapeError      unstack                 ta.unstack(f())
ShapeError      repeat                  ta.repeat(f(2), -1)
DTypeError      repeat                  ta.repeat(f(2), 1.5)
ShapeError      repeat                  ta.repeat(f(2), [1, 2, 3])
ShapeError      tile                    ta.tile(f(2), -1)
ShapeError      pad                     ta.pad(f(2), -1)
ShapeError      pad                     ta.pad(f(2), ((1, 1), (1, 1)))
ShapeError      pad:mode                ta.pad(f(2), 1, mode="mirror")
ShapeError      pad:mode                ta.pad(f(2), 1, np.ones(2))
DTypeError      pad                     ta.pad(i(2), 1, constant_values=1.5)
DTypeError      pad:constant_values     ta.pad(f(2), 1, constant_values="a")
ShapeError      pad                     ta.pad(f(0), 1, "edge")
ShapeError      tril                    ta.tril(f(2))
DTypeError      triu                    ta.triu(f(2, 2), 0.5)
ShapeError      diagonal                ta.diagonal(f(2, 2), 0, 0, -2)
ShapeError      diag                    ta.diag(f(2, 2, 2))
ShapeError      trace                   ta.trace(f(2))
ShapeError      meshgrid                ta.meshgrid(f(2, 2))
ShapeError      meshgrid:indexing       ta.meshgrid(f(2), f(3), indexing="yx")
DTypeError      astype                  ta.astype(f(2), "complex64")
DTypeError      astype                  ta.astype(f(2), None)
DTypeError      astype                  ta.astype(f(2), str)
DTypeError      astype                  f(2).astype("float3")

# Indexing
IndexRangeError getitem                 f(2, 3)[2]
IndexRangeError getitem                 f(2, 3)[0, -4]
IndexRangeError getitem                 f(2, 3)[0, 0, 0]
IndexRangeError getitem                 f(2, 3)[..., ...]
IndexRangeError getitem                 f(2, 3)[[0, 2]]
IndexRangeError getitem                 f(2, 3)[i(2) + 5]
ShapeError      getitem                 f(2, 3)[i(2), i(3)]
ShapeError      getitem                 f(2, 3)[b(2), i(3)]
IndexRangeError getitem                 f(2, 3)[b(3)]
DTypeError      getitem                 f(2, 3)[1.5]
DTypeError      getitem                 f(2, 3)["a"]
DTypeError      getitem                 f(2, 3)[f(2)]
ShapeError      getitem                 f(2, 3)[::0]
DTypeError      getitem                 f(2, 3)[0:1.5]
DeviceError     getitem                 f(2, 3)[there(2) > 0]
IndexRangeError getitem                 f()[0]
IndexRangeError getitem                 f(0)[0]
GraphError      setitem                 setitem(g(2), 0, 1)
IndexRangeError setitem                 setitem(f(2), 2, 1)
ShapeError      setitem                 setitem(f(2), 0, f(3))
DTypeError      setitem                 setitem(i(2), 0, 1.5)
ShapeError      index_put               ta.index_put(f(2, 3), 0, f(2))
DTypeError      index_put               ta.index_put(i(2, 3), 0, f(3))
DTypeError      index_put               ta.index_put(b(2), 0, 3)
DeviceError     index_put               ta.index_put(f(2), 0, there())
DTypeError      index_put:300           ta.index_put(ta.ones(2, dtype="int8"), 0, 300)
DTypeError      index_put               ta.index_put(f(2), 0, None)
IndexRangeError index_add               ta.index_add(f(2, 3), [0, 5], 1)
ShapeError      index_add               ta.index_add(f(2, 3), [0, 1], f(4, 3))
DTypeError      index_add               ta.index_add(i(2), 0, 0.5)
IndexRangeError take                    ta.take(f(2, 3), 2, 0)
ShapeError      take                    ta.take(f(2, 3), 0, 2)
DTypeError      take                    ta.take(f(2, 3), b(2), 0)
DTypeError      take                    ta.take(f(2, 3), None, 0)
ShapeError      take_along_axis         ta.take_along_axis(f(2, 3), i(2), 1)
ShapeError      take_along_axis         ta.take_along_axis(f(2, 3), i(3, 1), 1)
IndexRangeError take_along_axis         ta.take_along_axis(f(2, 3), i(2, 1) + 3, 1)
DTypeError      take_along_axis         ta.take_along_axis(f(2, 3), f(2, 1), 1)
ShapeError      put_along_axis          ta.put_along_axis(f(2, 3), i(2, 1), f(2, 2), 1)
ShapeError      scatter_add             ta.scatter_add(f(2, 3), i(2, 1), f(3, 3), 1)
DTypeError      scatter_add             ta.scatter_add(i(2, 3), i(2, 1), f(2, 1))
ShapeError      masked_fill             ta.masked_fill(f(2, 3), b(4), 0)
DTypeError      masked_fill             ta.masked_fill(f(3), i(3), 0)
ShapeError      masked_fill             ta.masked_fill(f(3), b(3), f(2, 3))
DTypeError      masked_fill             ta.masked_fill(i(3), b(3), nan)
ShapeError      masked_select           ta.masked_select(f(2, 3), b(2))
DTypeError      masked_select           ta.masked_select(f(3), i(3))
DTypeError      one_hot                 ta.one_hot(f(2), 3)
IndexRangeError one_hot                 ta.one_hot(i(2) + 3, 3)
IndexRangeError one_hot                 ta.one_hot(i(2) - 1)
ShapeError      one_hot:num_classes     ta.one_hot(i(2), -1)
DTypeError      one_hot:num_classes     ta.one_hot(i(2), 2.5)
DTypeError      embedding               ta.embedding(f(2), f(3, 4))
IndexRangeError embedding               ta.embedding(i(2) + 3, f(3, 4))
ShapeError      embedding:weight        ta.embedding(i(2), f(3))
DeviceError     embedding               ta.embedding(i(2), there(3, 4))

# Order
ShapeError      sort                    ta.sort(f(2, 3), 2)
ShapeError      sort                    ta.sort(f())
TypeError       sort                    ta.sort(f(2), reverse=True)
ShapeError      argsort                 ta.argsort(f(2), 1)
ShapeError      topk                    ta.topk(f(3), 4)
DTypeError      topk:k                  ta.topk(f(3), 1.5)
ShapeError      nonzero                 ta.nonzero(f())
ShapeError      searchsorted            ta.searchsorted(f(2, 2), f(3))
ShapeError      searchsorted:side       ta.searchsorted(f(2), f(2), "middle")
ShapeError      searchsorted:side       ta.searchsorted(f(2), f(2), np.ones(2))
DeviceError     searchsorted            ta.searchsorted(f(2), there(2))

# Products
ShapeError      matmul                  ta.matmul(f(2, 3, 4), f(5, 6))
ShapeError      matmul                  f(2, 3) @ f(2)
ShapeError      matmul                  f(2, 2, 3) @ f(4, 3, 5)
ShapeError      matmul                  f(2, 3) @ 2
DTypeError      matmul:b                f(2, 3) @ None
DTypeError      matmul                  f(2, 3) @ "a"
ShapeError      matmul                  f(2, 3) @ [[1, 2], [3, 4]]
DeviceError     matmul                  f(2, 3) @ there(3, 2)
ShapeError      dot                     ta.dot(f(2, 3), f(2, 3))
DTypeError      dot                     ta.dot(f(2), "a")
ShapeError      vdot                    ta.vdot(f(2), f(3))
ShapeError      inner                   ta.inner(f(2, 3), f(2))
DTypeError      outer                   ta.outer(f(2), None)
DeviceError     kron                    ta.kron(f(2), there(2))
ShapeError      tensordot               ta.tensordot(f(2, 3), f(4, 3))
ShapeError      tensordot               ta.tensordot(f(2, 3), f(2, 3), 3)
DTypeError      tensordot:axes          ta.tensordot(f(2, 3), f(2, 3), "a")
DTypeError      tensordot:axes          ta.tensordot(f(2, 3), f(2, 3), np.ones(2))
ShapeError      tensordot               ta.tensordot(f(2, 3), f(2, 3), ((0, 1), 0))
DeviceError     tensordot               ta.tensordot(f(2), there(2), 1)
ShapeError      cdist                   ta.cdist(f(2, 3), f(2, 4))
ShapeError      cdist                   ta.cdist(f(2, 2, 3), f(3, 2, 3))
ShapeError      cdist                   ta.cdist(f(2, 3), f(2, 3), p=-1)
ShapeError      einsum                  ta.einsum("ij,jk->ik", f(2, 3), f(4, 5))
ShapeError      einsum                  ta.einsum("ij,jk->ik", f(2, 3))
ShapeError      einsum                  ta.einsum("ij->ij", f(2))
ShapeError      einsum                  ta.einsum("ij->ik", f(2, 2))
ShapeError      einsum                  ta.einsum("ii->i", f(2, 3))
ShapeError      einsum                  ta.einsum("...i->i", f(2, 3))
ShapeError      einsum                  ta.einsum("i1->i", f(2, 2))
DTypeError      einsum                  ta.einsum(f(2, 3), "ij")
DeviceError     einsum                  ta.einsum("i,i", f(2), there(2))
ShapeError      linear                  ta.linear(f(2, 3), f(4, 5))
ShapeError      linear                  ta.linear(f(2, 3), f(4, 3), f(3))
ShapeError      linear                  ta.linear(f(2, 3), f(4, 3), 1.0)
DeviceError     linear                  ta.linear(f(2, 3), there(4, 3))
DTypeError      linear:activation       ta.linear(f(2, 3), f(4, 3), activation=["relu"])
DTypeError      linear:dropout          ta.linear(f(2, 3), f(4, 3), dropout=np.zeros(2))
DTypeError      packed_linear:weights   ta.packed_linear(f(2, 3), 3)
DTypeError      packed_linear:weights   ta.packed_linear(f(2, 3), None)
DTypeError      packed_linear:biases    ta.packed_linear(f(2, 3), f(3, 4, 3), 0.0)
ShapeError      packed_linear:biases    ta.packed_linear(f(2, 3), f(3, 4, 3), np.zeros((3, 2)))

# Sequences and norms
ShapeError      conv1d:x                ta.conv1d(f(3), f(1, 1, 1))
ShapeError      conv1d                  ta.conv1d(f(1, 2, 5), f(3, 1, 2))
ShapeError      conv1d                  ta.conv1d(f(1, 2, 5), f(3, 2, 9))
ShapeError      conv1d                  ta.conv1d(f(1, 2, 5), f(3, 2, 2), f(4))
ShapeError      conv1d:stride           ta.conv1d(f(1, 2, 5), f(3, 2, 2), stride=0)
ShapeError      conv1d:padding          ta.conv1d(f(1, 2, 5), f(3, 2, 2), padding="full")
ShapeError      conv1d:padding          ta.conv1d(f(1, 2, 5), f(3, 2, 2), padding="same", stride=2)
DeviceError     conv1d                  ta.conv1d(f(1, 2, 5), there(3, 2, 2))
ShapeError      max_pool1d              ta.max_pool1d(f(5), 2)
ShapeError      max_pool1d              ta.max_pool1d(f(1, 5), 6)
ShapeError      max_pool1d:padding      ta.max_pool1d(f(1, 5), 2, padding=2)
ShapeError      avg_pool1d:kernel_size  ta.avg_pool1d(f(1, 5), 0)
ShapeError      normalize               ta.normalize(f(2))
DTypeError      normalize:p             ta.normalize(f(2), p="a", axis=0)
ShapeError      cosine_similarity       ta.cosine_similarity(f(2, 3), f(2, 4))
DeviceError     cosine_similarity       ta.cosine_similarity(f(2, 3), there(2, 3))
ShapeError      layer_norm              ta.layer_norm(f())
ShapeError      layer_norm              ta.layer_norm(f(2, 3), f(2))
ShapeError      layer_norm              ta.layer_norm(f(2, 3), f(3), f(2, 3))
ShapeError      layer_norm:eps          ta.layer_norm(f(2, 3), eps=-1)
DTypeError      layer_norm:eps          ta.layer_norm(f(2, 3), eps="a")
DeviceError     layer_norm              ta.layer_norm(f(2, 3), there(3))
ShapeError      rms_norm                ta.rms_norm(f(2, 3), f(2))
ShapeError      rope                    ta.rope(f(3), [0])
DTypeError      rope                    ta.rope(f(2, 4), [0.5, 1.0])
ShapeError      rope                    ta.rope(f(2, 4), i(3))
ShapeError      rope                    ta.rope(f(2, 3), [0, 1])
ShapeError      rope:theta              ta.rope(f(2, 4), [0, 1], theta=0)
ShapeError      rope:scaling            ta.rope(f(2, 4), [0, 1], scaling=("yarn", 2))
ShapeError      alibi_bias:heads        ta.alibi_bias(0, i(3))
ShapeError      alibi_bias              ta.alibi_bias(2, i(2, 3), i(3, 3))

# Losses
ShapeError      mse_loss                ta.mse_loss(f(2, 1), f(2))
DTypeError      mse_loss:reduction      ta.mse_loss(f(2), f(2), "avg")
DTypeError      mse_loss:reduction      ta.mse_loss(f(2), f(2), np.ones(2))
DTypeError      kl_div:reduction        ta.kl_div(f(2), f(2), np.ones(2))
DeviceError     mse_loss                ta.mse_loss(f(2), there(2))
DTypeError      mse_loss                ta.mse_loss(f(2), None)
ShapeError      l1_loss                 ta.l1_loss(f(2), f(3))
TypeError       l1_loss                 ta.l1_loss(f(2), f(2), size_average=True)
ShapeError      smooth_l1_loss:beta     ta.smooth_l1_loss(f(2), f(2), beta=-1)
ShapeError      huber_loss              ta.huber_loss(f(2), f(3))
ShapeError      huber_loss:delta        ta.huber_loss(f(2), f(2), delta=0)
DTypeError      huber_loss:delta        ta.huber_loss(f(2), f(2), delta="a")
ShapeError      binary_cross_entropy_with_logits bce(f(2), f(3))
ShapeError      binary_cross_entropy_with_logits bce(f(2), f(2), pos_weight=f(2, 2))
ShapeError      kl_div                  ta.kl_div(f(2), f(3))
ShapeError      kl_div                  ta.kl_div(f(), f(), "batchmean")
ShapeError      nll_loss                ta.nll_loss(f(2, 3), i(3))
IndexRangeError nll_loss                ta.nll_loss(f(2, 3), i(2) + 3)
DTypeError      nll_loss                ta.nll_loss(f(2, 3), f(2))
ShapeError      nll_loss                ta.nll_loss(f(2, 3), i(2), weight=f(2))
DTypeError      nll_loss:ignore_index   ta.nll_loss(f(2, 3), i(2), ignore_index="a")
ShapeError      cross_entropy           ta.cross_entropy(f(2, 3), i(3))
ShapeError      cross_entropy           ta.cross_entropy(f(2, 3), f(2, 4))
ShapeError      cross_entropy           ta.cross_entropy(f(2, 3), f(2))
IndexRangeError cross_entropy           ta.cross_entropy(f(2, 3), i(2) + 3)
DTypeError      cross_entropy           ta.cross_entropy(f(2, 3), b(2))
ShapeError      cross_entropy:axis      ta.cross_entropy(f(2, 3), i(2), axis=2)
ShapeError      cross_entropy           ta.cross_entropy(f(2, 3), i(2), weight=f(2))
DeviceError     cross_entropy           ta.cross_entropy(f(2, 3), i(2), weight=there(3))
ShapeError      cross_entropy:label_smoothing ta.cross_entropy(f(2, 3), i(2), label_smoothing=1.5)
DTypeError      cross_entropy:reduction ta.cross_entropy(f(2, 3), i(2), reduction="average")
DTypeError      cross_entropy           ta.cross_entropy(i(2, 3), i(2))
ShapeError      cross_entropy           ta.cross_entropy(f(), i())

# Attention
ShapeError      scaled_dot_product_attention sdpa(f(2, 3), f(2, 3), f(2, 3))
ShapeError      scaled_dot_product_attention sdpa(f(1, 2, 3), f(1, 2, 4), f(1, 2, 3))
ShapeError      scaled_dot_product_attention sdpa(f(1, 2, 3), f(1, 2, 3), f(1, 4, 3))
ShapeError      scaled_dot_product_attention sdpa(f(3, 2, 3), f(2, 2, 3), f(2, 2, 3))
ShapeError      scaled_dot_product_attention sdpa(f(2, 1, 2, 3), f(1, 1, 2, 3), f(1, 1, 2, 3))
DeviceError     scaled_dot_product_attention sdpa(q(), there(1, 2, 3), q())
DTypeError      scaled_dot_product_attention sdpa(q(), q(), q(), mask=f(2, 2))
ShapeError      scaled_dot_product_attention sdpa(q(), q(), q(), mask=b(3, 2))
DeviceError     scaled_dot_product_attention sdpa(q(), q(), q(), mask=there(2, 2) > 0)
DTypeError      scaled_dot_product_attention sdpa(q(), q(), q(), bias=b(2, 2))
ShapeError      scaled_dot_product_attention sdpa(q(), q(), q(), bias=f(3, 2))
ShapeError      scaled_dot_product_attention sdpa(q(), q(), q(), sinks=f(2))
ShapeError      scaled_dot_product_attention:window sdpa(q(), q(), q(), window=0)
ShapeError      scaled_dot_product_attention:softcap sdpa(q(), q(), q(), softcap=0)
DTypeError      scaled_dot_product_attention:scale sdpa(q(), q(), q(), scale="a")
ShapeError      scaled_dot_product_attention:dropout sdpa(q(), q(), q(), dropout=1)
ShapeError      scaled_dot_product_attention:path sdpa(q(), q(), q(), path="flash")
ShapeError      scaled_dot_product_attention:path sdpa(q(), q(), q(), path=["dense"])
DTypeError      scaled_dot_product_attention:causal sdpa(q(), q(), q(), causal="no")
DTypeError      scaled_dot_product_attention:causal sdpa(q(), q(), q(), causal=np.ones(2, bool))
DTypeError      scaled_dot_product_attention sdpa(q(), q(), q(), q_positions=f(2))
ShapeError      scaled_dot_product_attention sdpa(q(), q(), q(), causal=True, q_positions=i(3))
ShapeError      scaled_dot_product_attention sdpa(q(), q(), q(), causal=True, q_positions=[1, 0])
TypeError       scaled_dot_product_attention sdpa(q(), q(), q(), attn_mask=b(2, 2))
TypeError       scaled_dot_product_attention sdpa(q(), q(), q(), is_causal=True)
TypeError       scaled_dot_product_attention sdpa(q(), q(), q(), dropout_p=0.1)
DTypeError      scaled_dot_product_attention sdpa("a", q(), q())

# Creation
DTypeError      tensor                  ta.tensor("a")
DTypeError      tensor                  ta.tensor(None)
ShapeError      tensor                  ta.tensor([1, [2]])
DTypeError      tensor                  ta.tensor([[f(2)], [f(2)]])
DTypeError      tensor                  ta.tensor(1j)
DTypeError      tensor:1180591620717411303424 ta.tensor(2**70)
DTypeError      tensor:9223372036854775808 ta.tensor([2**63])
DTypeError      tensor:300              ta.tensor(300, dtype="int8")
DTypeError      tensor:nan              ta.tensor(nan, dtype="int64")
DTypeError      tensor                  ta.tensor(1.0, dtype="complex64")
DTypeError      tensor                  ta.tensor(1.0, dtype="a")
DeviceError     to("tpu")               ta.tensor(1.0, device="tpu")
DeviceError     to("cpu:1")             ta.tensor(1.0, device="cpu:1")
DTypeError      requires_grad           ta.tensor([1, 2], requires_grad=True)
TypeError       tensor                  ta.tensor(1.0, name="x")
DTypeError      asarray                 ta.asarray(np.array([object()]))
DTypeError      from_numpy:list         ta.from_numpy([1.0])
DTypeError      from_numpy              ta.from_numpy(np.array([1j]))
DTypeError      from_dlpack             ta.from_dlpack([1.0])
ShapeError      zeros                   ta.zeros(2, -3)
DTypeError      zeros                   ta.zeros(2.0)
DTypeError      zeros                   ta.zeros(f(2))
DTypeError      zeros                   ta.zeros(2, dtype=None)
ShapeError      zeros                   ta.zeros(2**70)
ShapeError      rand                    ta.rand(2**40, 2**40)
DTypeError      ones_like:dtype         ta.ones_like(f(2), np.ones(2))
DTypeError      ones                    ta.ones(2, dtype="str")
DTypeError      full:value              ta.full(2, "a")
DTypeError      full:300                ta.full(2, 300, dtype="int8")
DTypeError      full_like               ta.full_like(i(2), 1.5)
DTypeError      full_like               ta.full_like(b(2), 7)
DTypeError      zeros_like              ta.zeros_like(None)
ShapeError      arange                  ta.arange(0, 5, 0)
ShapeError      arange                  ta.arange(inf)
DTypeError      arange:stop             ta.arange("a")
DTypeError      arange:299              ta.arange(300, dtype="int8")
ShapeError      linspace                ta.linspace(0, 1, -1)
DTypeError      linspace:start          ta.linspace("a", 1)
ShapeError      eye                     ta.eye(-1)
DTypeError      eye:k                   ta.eye(2, 2, 0.5)
DeviceError     to                      f(2).to("cpu", "cpu")
DTypeError      to                      f(2).to(ta.float32, ta.float64)
DeviceError     to("tpu")               f(2).to(device="tpu")

# Random numbers
ShapeError      rand                    ta.rand(-1)
DTypeError      rand:dtype              ta.rand(2, dtype="int64")
DTypeError      rand:generator          ta.rand(2, generator=3)
DTypeError      randn                   ta.randn(2.5)
ShapeError      uniform                 ta.uniform(2, 1)
DTypeError      uniform:low             ta.uniform("a", 1)
ShapeError      normal                  ta.normal(0, -1)
DTypeError      normal:mean             ta.normal(f(2), 1)
ShapeError      truncated_normal        ta.truncated_normal(0, 1, 2, 1)
ShapeError      truncated_normal        ta.truncated_normal(float("nan"))
ShapeError      randint                 ta.randint(5, 5)
DTypeError      randint:high            ta.randint(2.5)
DTypeError      randint:low             ta.randint(0, 300, dtype="int8")
DTypeError      randint:dtype           ta.randint(0, 3, dtype="float32")
ShapeError      randperm                ta.randperm(-1)
ShapeError      bernoulli               ta.bernoulli(1.5)
ShapeError      bernoulli               ta.bernoulli(f(2) * 0.5, (3,))
ShapeError      multinomial             ta.multinomial(f(3), 4)
ShapeError      multinomial             ta.multinomial(-f(3), 1)
ShapeError      multinomial             ta.multinomial(f(), 1)
ShapeError      manual_seed             ta.manual_seed(-1)
DTypeError      manual_seed:seed        ta.manual_seed("a")
DTypeError      Generator:seed          ta.Generator(1.5)
CheckpointError Generator.set_state     ta.Generator(0).set_state({})

# Tensors and gradients
ShapeError      item                    f(2).item()
ShapeError      bool                    bool(f(2))
ShapeError      item                    float(f(2))
ShapeError      len                     len(f())
ShapeError      iter                    list(f())
DTypeError      index                   [1, 2, 3][f()]
DTypeError      requires_grad           i(2).requires_grad_()
GraphError      requires_grad           (g(2) * 2).requires_grad_(False)
ShapeError      grad                    setattr(g(2), "grad", f(3))
DTypeError      grad                    setattr(g(2), "grad", 3)
GraphError      grad                    setattr(f(2), "grad", f(2))
GraphError      retain_grad             f(2).retain_grad()
GraphError      register_hook           f(2).register_hook(print)
TypeError       register_hook           g(2).register_hook(3)
GraphError      backward                f(2).backward()
ShapeError      backward                (g(2) * 2).backward()
ShapeError      backward                (g(2) * 2).backward(f(3))
DTypeError      backward                (g(2) * 2).backward(1.0)
DTypeError      backward                (g(2) * 2).backward(f(2).astype("float64"))
GraphError      backward                backward_twice(g(2))
GraphError      backward                write_then_back(g(2))
GraphError      grad                    ta.grad(f(2).sum(), g(2))
GraphError      grad                    ta.grad(g(2).sum(), f(2))
GraphError      grad                    ta.grad(g(2).sum(), g(2))
ShapeError      grad                    ta.grad(g(2), g(2))
DTypeError      grad                    ta.grad(3, g(2))
DTypeError      grad                    ta.grad(g(2).sum(), "ab")
ShapeError      grad:grad_outputs       ta.grad([g(2).sum()], g(2), [f(), f()])
GraphError      deepcopy                copy.deepcopy(g(2) * 2)
GraphError      pickle                  pickle.dumps(g(2) * 2)

# Transforms and the gradient checker
ShapeError      value_and_grad          ta.value_and_grad(ta.exp)(f(2))
DTypeError      value_and_grad          ta.value_and_grad(ta.sum)(i(2))
ShapeError      value_and_grad:argument ta.value_and_grad(ta.sum, 1)(f(2))
DTypeError      value_and_grad:argnums  ta.value_and_grad(ta.sum, "a")(f(2))
DTypeError      value_and_grad          ta.value_and_grad(float)(f())
DTypeError      value_and_grad          ta.value_and_grad(ta.sum)(3.0)
ShapeError      vjp                     ta.vjp(ta.exp, f(2), f(3))
DTypeError      vjp                     ta.vjp(ta.exp, f(2), 1.0)
DTypeError      vjp                     ta.vjp(ta.exp, f(2), (f(2),))
ShapeError      jvp:v                   ta.jvp(ta.multiply, (f(2), f(2)), f(2))
DTypeError      jvp                     ta.jvp(ta.exp, f(2), f(2).astype("float64"))
ShapeError      hvp                     ta.hvp(ta.exp, f(2), f(2))
DTypeError      jacobian                ta.jacobian(ta.exp, i(2))
ShapeError      hessian                 ta.hessian(ta.exp, f(2))
DTypeError      hessian                 ta.hessian(ta.sum, b(2))
DTypeError      gradcheck               ta.gradcheck(ta.exp, f(2))
DTypeError      gradcheck:float64       ta.gradcheck(ta.exp, i(2))
DTypeError      gradcheck:fn            ta.gradcheck(3, f(2))
ShapeError      gradcheck:order         ta.gradcheck(ta.exp, f(2), order=0)
ShapeError      gradcheck:method        ta.gradcheck(ta.exp, f(2), method="forward")
ShapeError      gradcheck:eps           ta.gradcheck(ta.exp, f(2), eps=0)
DTypeError      check_causality         ta.check_causality(nn.Identity(), f(2))
TypeError       exp.derivatives         ta.primitive(ta.exp.forward).derivatives(z=ta.exp)

# Modules
ShapeError      Linear                  nn.Linear(0, 3)
DTypeError      Linear:in_features      nn.Linear(2.5, 3)
ShapeError      linear                  layer(f(4))
DTypeError      linear                  layer("a")
DeviceError     linear                  layer(there(2))
DTypeError      Linear:weight           setattr(layer, "weight", f(3, 2))
GraphError      Linear                  setattr(layer, "forward", layer)
DTypeError      Linear                  layer.register_buffer("b", 3)
GraphError      Linear                  layer.register_buffer("a.b", f(2))
DTypeError      Linear                  layer.register_parameter("b", f(2))
DTypeError      Module.to               layer.to("int64")
CheckpointError load_state_dict         layer.load_state_dict({})
CheckpointError load_state_dict         layer.load_state_dict({"weight": f(2, 2), "bias": f(3)})
CheckpointError load_state_dict         layer.load_state_dict({**layer.state_dict(), "x": 1})
CheckpointError load_state_dict         layer.load_state_dict([f(3, 2)])
DTypeError      requires_grad           nn.Parameter(i(2))
DTypeError      Parameter               nn.Parameter("a")
DTypeError      Sequential:0            nn.Sequential(3)
IndexRangeError Sequential              nn.Sequential(nn.ReLU())[1]
DTypeError      Sequential:index        nn.Sequential(nn.ReLU())["a"]
GraphError      Sequential              nn.Sequential({"a.b": nn.ReLU()})
DTypeError      ModuleList:modules      nn.ModuleList(3)
GraphError      ModuleDict              nn.ModuleDict({"keys": nn.ReLU()})
ShapeError      Flatten                 nn.Flatten(1, 0)(f(2, 3, 4))
ShapeError      Embedding               nn.Embedding(3, 2, padding_idx=3)
IndexRangeError embedding               nn.Embedding(3, 2)(i(2) + 3)
ShapeError      LayerNorm               nn.LayerNorm(())
ShapeError      LayerNorm               nn.LayerNorm(3, eps=-1)
ShapeError      LayerNorm               nn.LayerNorm(3)(f(2))
ShapeError      RMSNorm                 nn.RMSNorm(3)(f(2, 4))
DTypeError      GELU:approximate        nn.GELU("relu")
ShapeError      Dropout                 nn.Dropout(1.5)
ShapeError      softmax                 nn.Softmax(3)(f(2))
ShapeError      xavier_uniform_         nn.init.xavier_uniform_(f(2))
DTypeError      xavier_uniform_         nn.init.xavier_uniform_(i(2, 2))
DTypeError      kaiming_uniform_:mode   nn.init.kaiming_uniform_(f(2, 2), mode="fan")
DTypeError      calculate_gain:nonlinearity nn.init.calculate_gain("foo")

# Layers of sequences
ShapeError      MultiheadAttention      nn.MultiheadAttention(5, 2)
ShapeError      MultiheadAttention      nn.MultiheadAttention(4, 2, num_kv_heads=3)
ShapeError      MultiheadAttention      nn.MultiheadAttention(4, 2, dropout=2)
ShapeError      MultiheadAttention      nn.MultiheadAttention(4, 2, batch_first=False)
ShapeError      MultiheadAttention      attend(f(1, 2, 3))
ShapeError      MultiheadAttention      attend(f(1, 2, 4), f(2, 2, 4))
DTypeError      MultiheadAttention      attend(f(1, 2, 4), key_mask=f(1, 2))
ShapeError      MultiheadAttention      attend(f(1, 2, 4), key_mask=b(2))
ShapeError      MultiheadAttention:key_mask attend(f(1, 2, 4), mask=b(3, 3), key_mask=b(1, 2))
TypeError       MultiheadAttention      attend(f(1, 2, 4), attn_mask=b(2, 2))
TypeError       MultiheadAttention      attend(f(1, 2, 4), key_padding_mask=b(1, 2))
TypeError       MultiheadAttention      attend(f(1, 2, 4), is_causal=True)
DTypeError      TransformerEncoderLayer:activation nn.TransformerEncoderLayer(4, 2, activation="no")
TypeError       TransformerEncoderLayer encode(f(1, 2, 4), src_mask=b(2, 2))
TypeError       TransformerDecoderLayer decode(f(1, 2, 4), f(1, 2, 4), memory_mask=b(2, 2))
ShapeError      TransformerEncoder      nn.TransformerEncoder(encode, 0)
ShapeError      LearnedPositions        nn.LearnedPositions(2, 4)(f(1, 3, 4))
IndexRangeError LearnedPositions        nn.LearnedPositions(2, 4)(f(1, 2, 4), [0, 2])
ShapeError      SinusoidalPositions     nn.SinusoidalPositions(3)
ShapeError      RelativePositionBias    nn.RelativePositionBias(2, 3)
ShapeError      RNN                     nn.RNN(2, 3)(f(2, 3))
DTypeError      RNN:nonlinearity        nn.RNN(2, 3, nonlinearity="gelu")
ShapeError      RNN                     nn.RNN(2, 3)(f(1, 4, 2), f(1, 1, 4))
ShapeError      RNN                     nn.RNN(2, 3)(f(1, 4, 2), lengths=[5])
DTypeError      LSTM:state              nn.LSTM(2, 3)(f(1, 4, 2), f(1, 1, 3))
DTypeError      GRU                     nn.GRU(2, 3)("a")
ShapeError      Conv1d                  nn.Conv1d(3, 2, 1, groups=2)
ShapeError      Conv1d                  nn.Conv1d(2, 3, 2)(f(1, 3, 5))
DTypeError      Conv1d:padding_mode     nn.Conv1d(2, 3, 2, padding_mode="a")
DTypeError      AdditiveAttention       nn.AdditiveAttention(2, 2, 4)(f(1, 2, 2), "a")
TypeError       LinearAttention         nn.LinearAttention(4, 2)(f(1, 2, 4), mask=b(2, 2))
DTypeError      CrossEntropyLoss:reduction nn.CrossEntropyLoss(reduction="avg")
DTypeError      CrossEntropyLoss        nn.CrossEntropyLoss("mean")
ShapeError      CrossEntropyLoss        nn.CrossEntropyLoss(label_smoothing=2)
ShapeError      HuberLoss               nn.HuberLoss(delta=-1)

# Optimizers
ShapeError      SGD                     optim.SGD([])
DTypeError      SGD:params              optim.SGD(g(2))
DTypeError      SGD:params              optim.SGD(nn.Linear(2, 3))
DTypeError      SGD:params              optim.SGD(3)
DTypeError      SGD                     optim.SGD([3])
GraphError      SGD                     optim.SGD([g(2) * 2])
ShapeError      SGD:lr                  optim.SGD([g(2)], lr=-1)
DTypeError      SGD:lr                  optim.SGD([g(2)], lr="a")
ShapeError      SGD:momentum            optim.SGD([g(2)], nesterov=True)
DTypeError      SGD:dampening           optim.SGD([g(2)], dampening="a")
DTypeError      SGD:foo                 optim.SGD([{"params": [g(2)], "foo": 1}])
DTypeError      SGD                     optim.SGD([{"lr": 1}])
TypeError       SGD.__init__            optim.SGD([g(2)], betas=(0.9, 0.99))
DTypeError      Adam:betas              optim.Adam([g(2)], betas=0.9)
ShapeError      Adam:betas              optim.Adam([g(2)], betas=(1.0, 0.9))
DTypeError      AdamW:weight_decay      optim.AdamW([g(2)], weight_decay=None)
ShapeError      AdamW:lr                setattr(adamw(2), "lr", -1)
CheckpointError AdamW.load_state_dict   adamw(2).load_state_dict({})
CheckpointError AdamW.load_state_dict   adamw(2).load_state_dict(optim.SGD([g(2)]).state_dict())
CheckpointError AdamW.load_state_dict   adamw(2).load_state_dict(adamw(2, 3).state_dict())
ShapeError      clip_grad_norm_:max_norm optim.clip_grad_norm_([g(2)], -1)
DTypeError      clip_grad_norm_:max_norm optim.clip_grad_norm_([g(2)], "a")
DTypeError      clip_grad_norm_:parameters optim.clip_grad_norm_(nn.Linear(2, 3), 1)
DTypeError      clip_grad_value_:clip_value optim.clip_grad_value_([g(2)], None)
ShapeError      cosine                  optim.cosine(-1, 10)
ShapeError      cosine                  optim.cosine(1, 10, warmup=10)
ShapeError      inverse_sqrt            optim.inverse_sqrt(1, 0)
DTypeError      linear_warmup:then      optim.linear_warmup(2, 3)
DTypeError      decay_groups:model      optim.decay_groups(3, 0.1)

# Mixed precision
DTypeError      autocast:dtype          ta.autocast(ta.float32)
DTypeError      autocast:dtype          ta.autocast("cuda")
ShapeError      GradScaler:init_scale   optim.GradScaler(0)
DTypeError      GradScaler:growth_factor optim.GradScaler(growth_factor="a")
ShapeError      GradScaler:growth_factor optim.GradScaler(growth_factor=0.5)
ShapeError      GradScaler:backoff_factor optim.GradScaler(backoff_factor=2)
ShapeError      GradScaler:growth_interval optim.GradScaler(growth_interval=0)
DTypeError      GradScaler.scale:outputs optim.GradScaler().scale(1.0)
GraphError      GradScaler.unscale_     optim.GradScaler().step(adamw(2))
GraphError      GradScaler.update       optim.GradScaler().update()
CheckpointError GradScaler.load_state_dict optim.GradScaler().load_state_dict({"scale": 2})

# Models
ShapeError      GPTConfig               GPTConfig(0, 8, 1, 1, 4)
ShapeError      GPTConfig               GPTConfig(10, 8, 1, 3, 4)
ShapeError      GPTConfig               GPTConfig(10, 8, 1, 2, 4, dropout=1.0)
DTypeError      GPTConfig:dropout       GPTConfig(10, 8, 1, 2, 4, dropout="a")
ShapeError      GPT                     gpt(i(5))
ShapeError      GPT                     gpt(i(1, 5))
DTypeError      embedding               gpt(f(1, 2))
IndexRangeError embedding               gpt(i(1, 2) + 10)
ShapeError      generate                gpt.generate(i(1, 2), 9)
ShapeError      generate                gpt.generate(i(2), 1)
DTypeError      generate:n              gpt.generate(i(1, 2), 1.5)
ShapeError      generate:temperature    gpt.generate(i(1, 2), 1, temperature=-1)
DTypeError      generate:temperature    gpt.generate(i(1, 2), 1, temperature="a")
ShapeError      generate:top_k          gpt.generate(i(1, 2), 1, top_k=0)
ShapeError      generate:top_p          gpt.generate(i(1, 2), 1, top_p=2)
ShapeError      generate:keep           gpt.generate(i(1, 2), 1, keep=9)
"""


# ---- what the calls are written in ---------------------------------------------------------------


class Operands(list):
    """The tensors that a call has made for itself, in order, on one device."""

    def __init__(self, device):
        self.device = device

    def made(self, shape, make=ta.ones, **options):
        self.append(make(shape, **{"device": self.device, **options}))
        return self[-1]

    def names(self):
        """What the table calls things."""
        made, elsewhere = self.made, "cpu" if self.device == STANDIN else STANDIN
        return {
            "f": lambda *shape: made(shape),
            "i": lambda *shape: made(shape, ta.zeros, dtype=ta.int64),
            "b": lambda *shape: made(shape, dtype=ta.bool_),
            "g": lambda *shape: made(shape, requires_grad=True),
            "q": lambda: made((1, 2, 3)),
            "there": lambda *shape: made(shape, device=elsewhere),
            "adamw": lambda *sizes: optim.AdamW([made(n, requires_grad=True) for n in sizes]),
            **{name: copy.deepcopy(model).to(self.device) for name, model in MODELS.items()},
            **KNOWN,
        }


def backward_twice(x):
    y = (x * x).sum()
    y.backward()
    y.backward()


def write_then_back(x):
    y, z = x * 1, x * 2
    product = (y * z).sum()
    with ta.no_grad():
        y[0] = 5.0
    product.backward()


KNOWN = {
    "ta": ta,
    "nn": nn,
    "optim": optim,
    "np": np,
    "copy": copy,
    "pickle": pickle,
    "inf": math.inf,
    "nan": math.nan,
    "setitem": operator.setitem,
    "sdpa": ta.scaled_dot_product_attention,
    "bce": ta.binary_cross_entropy_with_logits,
    "backward_twice": backward_twice,
    "write_then_back": write_then_back,
    "GPTConfig": GPTConfig,
}
MODELS = {
    "layer": nn.Linear(2, 3),
    "attend": nn.MultiheadAttention(4, 2),
    "encode": nn.TransformerEncoderLayer(4, 2, 8),
    "decode": nn.TransformerDecoderLayer(4, 2, 8),
    "gpt": GPT(GPTConfig(vocab_size=10, block_size=4, n_layer=1, n_head=2, n_embd=4)),
}


# ---- the table, read -----------------------------------------------------------------------------


class BadCall(NamedTuple):
    """One line of the table."""

    area: str
    error: type
    op: str
    option: str
    call: str

    def refused(self, device="cpu"):
        """(the error that the call raises, the tensors that it had made) with its tensors there."""
        operands = Operands(device)
        try:
            result = eval(self.call, operands.names())
        except Exception as error:
            return error, operands
        raise AssertionError(f"{self.call} was accepted; it gave {result!r}")


def read(table):
    """Every line of the table as a BadCall."""
    calls, area = [], None
    for line in filter(None, table.splitlines()):
        if line.startswith("# "):
            area = line[2:]
        else:
            name, op, call = line.split(None, 2)
            error = TypeError if name == "TypeError" else getattr(ta, name)
            calls.append(BadCall(area, error, *op.partition(":")[::2], call))
    return calls


CALLS = read(TABLE)


def golden_text():
    """What every call is told, grouped by area."""
    lines, area = [HEAD], None
    for bad in CALLS:
        if bad.area != area:
            area = bad.area
            lines += [f"{area}", "-" * len(area), ""]
        error, _ = bad.refused()
        message = str(error).partition(". Did you mean")[0]  # which newer Pythons add
        message = message.replace("\n", "\n        ")
        lines += [bad.call, f"    {type(error).__name__}: {message}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        GOLDEN.write_text(golden_text(), encoding="utf-8", newline="\n")
    else:
        print(golden_text())
