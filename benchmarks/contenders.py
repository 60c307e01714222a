"""charloom and what it is compared with: each a function of a `Task` that yields the loss of update after update.

They never end. All start from the same weights, read the same windows and follow the same update rule; a loss is in
nats per window, the mean over the streams. Those at the end do other work than updates; what they yield means nothing.
"""

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.tasks import Task
from charloom import textbook
from charloom.adapters.process.workers import start_worker
from charloom.core.network.sampling import sample
from charloom.core.training import WorkerPool
from charloom.core.training.optimizers import OPTIMIZERS, Optimizer
from charloom.core.training.training import Training

BETAS = (0.9, 0.999)
PORTION = 50  # characters in a portion of sampling
PRODUCT_SIZE = 1024  # rows of the matrices whose product is the limit


def textbook_updates(task: Task) -> Iterator[float]:
    """The textbook network: one stream of the plain cell, with AdaGrad."""
    assert (task.cell, task.B, task.optimizer) == ("rnn", 1, "adagrad")
    params = {name: array.reshape(len(array), -1) for name, array in task.params().items()}
    sums_of_squares = {name: np.zeros_like(array) for name, array in params.items()}
    smooth_loss = None
    ids, state = task.streams()[:, 0], textbook.zero_state(task.m, dtype=task.dtype)
    for start in task.positions():
        if start == 0:
            state = textbook.zero_state(task.m, dtype=task.dtype)
        inputs, targets = ids[start : start + task.T], ids[start + 1 : start + task.T + 1]
        loss, grads, state = textbook.loss_and_gradients(params, inputs, targets, state)  # type: ignore[arg-type] # ids, an array
        textbook.adagrad(
            params,
            grads,
            sums_of_squares,
            learning_rate=task.learning_rate,
            epsilon=task.epsilon,
            clip_value=task.clip_value or np.inf,
        )
        smooth_loss = textbook.smooth(smooth_loss, loss)
        yield loss


def charloom_training(task: Task, pool: WorkerPool | None = None) -> Training:
    """The task as charloom's own training runs it."""
    network = pool.network if pool else task.network()
    options: dict[str, Any] = {"epsilon": task.epsilon}
    if task.optimizer == "adam":
        options |= {"beta1": BETAS[0], "beta2": BETAS[1], "weight_decay": 0.0}
    optimizer: Optimizer = OPTIMIZERS[task.optimizer](
        network.parameters.vector.size,
        task.dtype,
        learning_rate=task.learning_rate,
        clip_value=task.clip_value,
        **options,
    )
    return Training(network, optimizer, task.ids, seq_length=task.T, batch_size=task.B, smoothing=0.999, pool=pool)


def charloom_updates(task: Task) -> Iterator[float]:
    """The training of charloom itself; instead of several threads it has as many processes with a thread each."""
    pool = WorkerPool(task.network(), workers=task.threads, initializer=partial(start_worker, 1))
    with threadpool_limits(1), pool:
        for update in charloom_training(task, pool).updates():
            yield update.loss


def torch_default_updates(task: Task) -> Iterator[float]:
    """PyTorch, eager, with its default optimizer."""
    return torch_updates(task, fused=None)


def torch_updates(task: Task, fused: bool | None = True) -> Iterator[float]:
    """PyTorch, eager: its own layer nn.RNN, nn.GRU or nn.LSTM, its fused optimizer and its own clipping."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(task.threads)
    dtype, m, T = getattr(torch, task.dtype), task.m, task.T
    params = {name: torch.from_numpy(array.copy()) for name, array in task.params().items()}
    layer = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[task.cell](task.K, m, dtype=dtype)
    output = torch.nn.Linear(m, task.K, dtype=dtype)

    def in_torch_order(rows: Any) -> Any:
        """PyTorch's LSTM has its gates in the order i, f, g, o; charloom's has o, i, f, g."""
        return torch.roll(rows, -m, 0) if task.cell == "lstm" else rows

    with torch.no_grad():
        layer.weight_hh_l0.copy_(in_torch_order(params["W"]))
        layer.weight_ih_l0.copy_(in_torch_order(params["U"]))
        layer.bias_ih_l0.copy_(in_torch_order(params["b"]))
        layer.bias_hh_l0.zero_()
        output.weight.copy_(params["V"])
        output.bias.copy_(params["c"])
    # charloom has one bias where PyTorch has two, except for a GRU's candidate.
    if task.cell == "gru":
        is_candidate = (torch.arange(3 * m) >= 2 * m).to(dtype)
        layer.bias_hh_l0.register_hook(lambda grad: grad * is_candidate)
    else:
        layer.bias_hh_l0.requires_grad_(False)
    trained = [p for p in (*layer.parameters(), *output.parameters()) if p.requires_grad]
    optimizer = _torch_optimizer(torch, trained, task, fused)
    one_hot = torch.eye(task.K, dtype=dtype)
    streams = torch.from_numpy(task.streams())
    zero = torch.zeros(1, task.B, m, dtype=dtype)
    state: Any = None
    for start in task.positions():
        if start == 0:
            state = (zero, zero) if task.cell == "lstm" else zero
        inputs = one_hot[streams[start : start + T]]  # (T, B, K)
        targets = streams[start + 1 : start + T + 1]
        optimizer.zero_grad()
        hs, state = layer(inputs, state)
        state = tuple(part.detach() for part in state) if task.cell == "lstm" else state.detach()
        o = output(hs.view(T * task.B, m))
        loss = torch.nn.functional.cross_entropy(o, targets.reshape(-1), reduction="sum") / task.B
        loss.backward()
        if task.clip_value is not None:
            torch.nn.utils.clip_grad_value_(trained, task.clip_value)
        optimizer.step()
        yield loss.item()


def torch_compiled_updates(task: Task) -> Iterator[float]:
    """PyTorch, torch.compile: the plain cell's equations in a loop over time, which the compiler unrolls.

    Not nn.RNN, in which the compiler finds no graph.
    """
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(task.threads)
    assert (task.cell, task.B) == ("rnn", 1)
    dtype, T = getattr(torch, task.dtype), task.T
    params = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in task.params().items()}
    optimizer = _torch_optimizer(torch, list(params.values()), task, fused=True)

    @torch.compile  # type: ignore[untyped-decorator]
    def window_loss(params: Any, inputs: Any, targets: Any, h: Any) -> Any:
        input_projection = params["U"].T[inputs] + params["b"]  # (T, m)
        hs = []
        for t in range(T):
            h = torch.tanh(params["W"] @ h + input_projection[t])
            hs.append(h)
        o = torch.stack(hs) @ params["V"].T + params["c"]
        return torch.nn.functional.cross_entropy(o, targets, reduction="sum"), h

    ids, h = torch.from_numpy(task.streams()[:, 0].copy()), None
    for start in task.positions():
        if start == 0:
            h = torch.zeros(task.m, dtype=dtype)
        optimizer.zero_grad()
        # Copies: a window that starts at another address may be aligned differently, and would be recompiled.
        inputs, targets = ids[start : start + T].clone(), ids[start + 1 : start + T + 1].clone()
        loss, h = window_loss(params, inputs, targets, h)
        h = h.detach()
        loss.backward()
        if task.clip_value is not None:
            torch.nn.utils.clip_grad_value_(list(params.values()), task.clip_value)
        optimizer.step()
        yield loss.item()


def _torch_optimizer(torch: Any, trained: list[Any], task: Task, fused: bool | None) -> Any:
    if task.optimizer == "adam":
        return torch.optim.Adam(trained, lr=task.learning_rate, betas=BETAS, eps=task.epsilon, fused=fused)
    return torch.optim.Adagrad(trained, lr=task.learning_rate, eps=task.epsilon, fused=fused)


def jax_updates(task: Task) -> Iterator[float]:
    """JAX: one jitted function for the whole update, a scan over time, all buffers donated, the text on the device.

    Dispatch is asynchronous, as JAX has it by default; every loss is read at once.
    """
    jax: Any = importlib.import_module("jax")
    jnp: Any = importlib.import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)
    T, dtype = task.T, task.dtype
    batch = () if task.B == 1 else (task.B,)  # vectors for one stream
    window_loss, (rule, slot_count) = _jax_window_loss(jax, task), _jax_optimizer(jax, task)

    def update(params: Any, slots: Any, state: Any, position: Any, n: Any, streams: Any) -> Any:
        window = jax.lax.dynamic_slice_in_dim(streams, position, T + 1)
        (loss, state), grads = jax.value_and_grad(window_loss, has_aux=True)(params, window[:-1], window[1:], state)
        if task.clip_value is not None:
            grads = jax.tree.map(lambda g: jnp.clip(g, -task.clip_value, task.clip_value), grads)
        n = n + 1
        params, slots = rule(params, grads, slots, n)
        position = position + T
        at_end = position >= task.stream_length - T
        state = jax.tree.map(lambda s: jnp.where(at_end, 0, s).astype(dtype), state)
        return params, slots, state, jnp.where(at_end, 0, position), n, loss

    compiled = jax.jit(update, donate_argnums=(0, 1, 2, 3, 4))
    params = {name: jnp.asarray(array) for name, array in task.params().items()}
    slots = tuple(jax.tree.map(jnp.zeros_like, params) for _ in range(slot_count))
    state = tuple(jnp.zeros((*batch, task.m), dtype) for _ in range(2 if task.cell == "lstm" else 1))
    position, n = jnp.asarray(0), jnp.asarray(0)
    streams = jnp.asarray(task.streams().reshape(-1, *batch).astype(np.int32))
    while True:
        params, slots, state, position, n, loss = compiled(params, slots, state, position, n, streams)
        yield float(loss)


def _jax_window_loss(jax: Any, task: Task) -> Callable[..., Any]:
    """The loss of a window as a function of params, inputs, targets and state, with the state after it."""
    jnp, m, dtype = jax.numpy, task.m, task.dtype

    def time_step(params: Any, state: Any, projection: Any) -> Any:
        h = state[0]
        product = h @ params["W"].T
        if task.cell == "rnn":
            h = jnp.tanh(product + projection)
            return (h,), h
        if task.cell == "gru":
            rz = jax.nn.sigmoid(product[..., : 2 * m] + projection[..., : 2 * m])
            r, z = rz[..., :m], rz[..., m:]
            n = jnp.tanh(r * (product[..., 2 * m :] + params["bn"]) + projection[..., 2 * m :])
            h = n + z * (h - n)
            return (h,), h
        a = product + projection
        oif = jax.nn.sigmoid(a[..., : 3 * m])
        o, i, f = oif[..., :m], oif[..., m : 2 * m], oif[..., 2 * m :]
        c = f * state[1] + i * jnp.tanh(a[..., 3 * m :])
        h = o * jnp.tanh(c)
        return (h, c), h

    def window_loss(params: Any, inputs: Any, targets: Any, state: Any) -> Any:
        one_hot_inputs, one_hot_targets = (jax.nn.one_hot(ids, task.K, dtype=dtype) for ids in (inputs, targets))
        input_projection = one_hot_inputs @ params["U"].T + params["b"]  # (T, B, gates·m)
        state, hs = jax.lax.scan(partial(time_step, params), state, input_projection)
        log_p = jax.nn.log_softmax(hs @ params["V"].T + params["c"])  # (T, B, K)
        return -(log_p * one_hot_targets).sum() / task.B, state

    return window_loss


def _jax_optimizer(jax: Any, task: Task) -> tuple[Callable[..., Any], int]:
    """The update rule, and how many arrays of state it has for each parameter."""
    jnp, eta = jax.numpy, task.learning_rate

    def adagrad(params: Any, grads: Any, slots: Any, n: Any) -> Any:
        (s,) = slots
        s = jax.tree.map(lambda s, g: s + g * g, s, grads)
        return jax.tree.map(lambda p, g, s: p - eta * g / jnp.sqrt(s + task.epsilon), params, grads, s), (s,)

    def adam(params: Any, grads: Any, slots: Any, n: Any) -> Any:
        mean, square = slots
        beta1, beta2 = BETAS
        mean = jax.tree.map(lambda s, g: beta1 * s + (1 - beta1) * g, mean, grads)
        square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g * g, square, grads)
        rate = (eta / (1 - beta1**n)).astype(task.dtype)
        root = (1 / jnp.sqrt(1 - beta2**n)).astype(task.dtype)
        params = jax.tree.map(
            lambda p, mu, v: p - rate * mu / (jnp.sqrt(v) * root + task.epsilon), params, mean, square
        )
        return params, (mean, square)

    return {"adagrad": (adagrad, 1), "adam": (adam, 2)}[task.optimizer]


def jax_waiting_updates(task: Task) -> Iterator[float]:
    """The same JAX, with asynchronous dispatch switched off."""
    importlib.import_module("jax").config.update("jax_cpu_enable_async_dispatch", False)
    yield from jax_updates(task)


def matrix_products(task: Task) -> Iterator[float]:
    """Products of two large matrices: the speed that the machine reaches when there is nothing else to do."""
    rng = np.random.default_rng(1)
    a, b = (rng.random((PRODUCT_SIZE, PRODUCT_SIZE)).astype(task.dtype) for _ in range(2))
    out = np.empty_like(a)
    while True:
        np.dot(a, b, out=out)
        yield 0.0


def textbook_sampling(task: Task) -> Iterator[float]:
    """Portions of one stream, sampled by the textbook network."""
    params = {name: array.reshape(len(array), -1) for name, array in task.params().items()}
    state, rng = textbook.zero_state(task.m, dtype=task.dtype), np.random.default_rng(1)
    while True:
        textbook.sample(params, 0, state, PORTION, rng=rng)
        yield 0.0


def charloom_sampling(task: Task) -> Iterator[float]:
    """Portions of B streams, sampled by charloom."""
    network = task.network()
    stream = sample(network, [0] * task.B, network.zero_state(task.B), rng=np.random.default_rng(1))
    while True:
        for ids in islice(stream, PORTION):
            ids.tolist()
        yield 0.0
