"""Faults for `tests/mutations.py`: what to replace in the cells and in the network around them.

The first of each cell's are consistent: forward and backward pass agree, so that no gradient check can find them, but
the network is not that of the equations.
"""

from collections.abc import Mapping

Edits = Mapping[str, Mapping[str, str]]
"""By file, under `src/charloom/core`: each old text, which occurs there once, and the new one."""

CELL, RNN, GRU, LSTM = "cells/cell.py", "cells/rnn.py", "cells/gru.py", "cells/lstm.py"
NETWORK, WINDOW = "network/network.py", "network/window.py"

ALL_CELLS: dict[str, Edits] = {
    "σ(2a) for σ(a), with its slope": {
        CELL: {
            "np.multiply(a, 0.5, a)\n    np.tanh(a, a)": "np.tanh(a, a)",
            "np.multiply(np.subtract(1, y, out), y, out)": "np.multiply(np.subtract(1, y, out), 2 * y, out)",
        },
        GRU: {"multiply(factor_z, z, factor_z)": "multiply(factor_z, 2 * z, factor_z)"},
    },
    "tanh for σ, with its slope": {
        CELL: {
            "np.tanh(a, a)\n    np.multiply(a, 0.5, a)\n    return np.add(a, 0.5, a)": "return np.tanh(2 * a, a)",
            "np.multiply(np.subtract(1, y, out), y, out)": "tanh_slope(y, out)",
        },
        GRU: {"multiply(factor_z, z, factor_z)": "multiply(factor_z, 1 + z, factor_z)"},
    },
    "the gates' rows interleaved in W, U and b": {
        CELL: {
            ".reshape(self.gates, m, B).swapaxes(1, 2)": ".reshape(m, self.gates, B).transpose(1, 2, 0)",
            "array.reshape(T, B, gates, n // gates).swapaxes(1, 2)": (
                "array.reshape(T, B, n // gates, gates).transpose(0, 3, 1, 2)"
            ),
        }
    },
    "the state before the window ignored": {
        CELL: {"self.h[t] = state[0]": "self.h[t] = 0"},
        LSTM: {"self.h[t], self.c[t] = state": "self.h[t] = self.c[t] = 0"},
    },
    "the state after the window taken one time step early": {
        CELL: {"self.h[-1:].copy()": "self.h[-2:-1].copy()"},
        LSTM: {"[self.h[-1], self.c[-1]]": "[self.h[-2], self.c[-2]]"},
    },
    "h_0 for h_{t-1} in the forward pass": {
        CELL: {"W_times(h_prev, products)": "W_times(self._h_columns[0], products)"}
    },
    "σ' = y² for y (1 - y)": {CELL: {"np.multiply(np.subtract(1, y, out), y, out)": "np.multiply(y, y, out)"}},
    "tanh' = 1 - y for 1 - y²": {CELL: {"np.subtract(1, np.multiply(y, y, out), out)": "np.subtract(1, y, out)"}},
    "the gates' rows interleaved in U and b, not in W": {
        CELL: {
            "array.reshape(T, B, gates, n // gates).swapaxes(1, 2)": (
                "array.reshape(T, B, n // gates, gates).transpose(0, 3, 1, 2)"
            )
        }
    },
}

PLAIN_CELL: dict[str, Edits] = {
    "σ for tanh, with its slope": {
        RNN: {
            "Params, tanh_slope, time_step_view": "Params, sigmoid, sigmoid_slope, time_step_view",
            "np.tanh(a, t.h)": "sigmoid(a)",
            "tanh_slope(self.h[1:], self.input_projection)": "sigmoid_slope(self.h[1:], self.input_projection)",
        }
    },
    "no tanh, and 1 for its slope": {
        RNN: {
            "np.tanh(a, t.h)": "",
            "tanh_slope(self.h[1:], self.input_projection)": "np.multiply(0, self.h[1:], self.input_projection)\n"
            "        da += 1",
        }
    },
    "-W for W": {
        RNN: {
            "a = np.add(t.product, t.input_projection, t.h)": "a = np.subtract(t.input_projection, t.product, t.h)",
            "t.da.dot(W, dh_next)": "t.da.dot(-W, dh_next)",
            "return da, da": "return da, -da",
        }
    },
    "Wᵀ for W": {
        CELL: {
            'W_times, step, products = params["W"].dot,': (
                'W_times, step, products = (params["W"].T if self.gates == 1 else params["W"]).dot,'
            )
        },
        RNN: {"t.da.dot(W, dh_next)": "t.da.dot(W.T, dh_next)"},
        NETWORK: {
            'np.dot(d_product.T, window.h_prev[layer], out=layer_grads["W"])': (
                'np.dot(d_product.T, window.h_prev[layer], out=layer_grads["W"])\n'
                '            if self.cell == "rnn":\n'
                '                layer_grads["W"][...] = layer_grads["W"].T.copy()'
            )
        },
    },
    "dh_next left out": {RNN: {"dh = add(t.dh, dh_next, t.dh)": "dh = t.dh"}},
    "dh_next not zero at the last time step": {RNN: {"dh_next[...] = 0": ""}},
    "the slope of h_{t-1} for that of h_t": {
        RNN: {"tanh_slope(self.h[1:], self.input_projection)": "tanh_slope(self.h[:-1], self.input_projection)"}
    },
    "W for Wᵀ in dh_next": {RNN: {"t.da.dot(W, dh_next)": "t.da.dot(W.T, dh_next)"}},
}

GRU_CELL: dict[str, Edits] = {
    "z for 1 - z": {
        GRU: {
            'add(t.product_n, params["bn"], t.q)': (
                'np.subtract(1, t.z, t.z)\n        add(t.product_n, params["bn"], t.q)'
            ),
            "subtract(self.h[:-1], n, factor_r)": "subtract(n, self.h[:-1], factor_r)",
        }
    },
    "r and z swapped": {
        GRU: {
            "self.r, self.z, self.n =": "self.z, self.r, self.n =",
            "cell.factors[t, 0]": "cell.factors[t, 1]",
            "cell.factors[t, 1:]": "cell.factors[t, ::2]",
            "= projection[0], projection[1:]": "= projection[1], projection[::2]",
            "r, z, n = self.activations": "z, r, n = self.activations",
            "factor_r, factor_z, factor_n = self.factors": "factor_z, factor_r, factor_n = self.factors",
        }
    },
    "r before the product with W_n": {
        GRU: {
            'add(t.product_n, params["bn"], t.q)': (
                'W_n = params["W"][2 * self.h.shape[-1] :]\n        add((t.r * t.h_prev).dot(W_n.T), params["bn"], t.q)'
            ),
            "add(multiply(t.r, t.q, t.n), t.projection_n, t.n)": "add(t.q, t.projection_n, t.n)",
            "multiply(sigmoid_slope(r, factor_r), self.q, factor_r)": (
                "multiply(sigmoid_slope(r, factor_r), self.h[:-1], factor_r)\n        m = self.h.shape[-1]"
            ),
            "multiply(t.da_n, t.factor_r, t.da_r)": "multiply(t.da_n.dot(W[2 * m :]), t.factor_r, t.da_r)",
            "multiply(t.da_n, t.r, t.dq)": "t.dq[...] = 0",
            "multiply(dh, t.z, work), dh_next)": "multiply(dh, t.z, work), dh_next)\n"
            "            t.dq[...] = t.da_n\n"
            "            add(dh_next, t.da_n.dot(W[2 * m :]) * t.r, dh_next)",
        },
        NETWORK: {
            'np.dot(d_product.T, window.h_prev[layer], out=layer_grads["W"])': (
                'np.dot(d_product.T, window.h_prev[layer], out=layer_grads["W"])\n'
                '            if self.cell == "gru":\n'
                "                cell, m = window.cells[layer], self.hidden_size\n"
                "                reset = (cell.activations[:, 0] * cell.h[:-1]).reshape(-1, m)\n"
                '                layer_grads["W"][2 * m :] = d_product[:, 2 * m :].T @ reset'
            )
        },
    },
    "r left out": {
        GRU: {
            "add(multiply(t.r, t.q, t.n), t.projection_n, t.n)": "add(t.q, t.projection_n, t.n)",
            "multiply(t.da_n, t.factor_r, t.da_r)": "t.da_r[...] = 0",
            "multiply(t.da_n, t.r, t.dq)": "t.dq[...] = t.da_n",
        }
    },
    "bn left out": {
        GRU: {
            'add(t.product_n, params["bn"], t.q)': "np.copyto(t.q, t.product_n)",
            'np.sum(dq, axis=(0, 1), out=grads["bn"])': 'grads["bn"][...] = 0',
        }
    },
    "bn outside the product with r": {
        GRU: {
            'add(t.product_n, params["bn"], t.q)': "np.copyto(t.q, t.product_n)",
            "add(multiply(t.r, t.q, t.n), t.projection_n, t.n)": (
                'add(multiply(t.r, t.q, t.n), t.projection_n + params["bn"], t.n)'
            ),
            "dq = by_gate(self.d_product, 3)": "dq = by_gate(self.input_projection, 3)",
        }
    },
    "σ for tanh in n, with its slope": {
        GRU: {"np.tanh(a_n, t.n)": "sigmoid(a_n)", "tanh_slope(n, factor_n)": "sigmoid_slope(n, factor_n)"}
    },
    "h_t = n + z h_{t-1}": {
        GRU: {
            "difference = np.subtract(t.h_prev, t.n, t.h)": "difference = t.h_prev",
            "multiply(tanh_slope(n, factor_n), subtract(1, z, factor_z), factor_n)": (
                "tanh_slope(n, factor_n), subtract(1, z, factor_z)"
            ),
            "subtract(self.h[:-1], n, factor_r)": "self.h[:-1]",
        }
    },
    "dh_next left out": {GRU: {"dh = add(t.dh, dh_next, t.dh)": "dh = t.dh"}},
    "dh_next not zero at the last time step": {GRU: {"dh_next[...] = 0": ""}},
    "dh z left out of dh_next": {GRU: {"add(dh_next, multiply(dh, t.z, work), dh_next)": "pass"}},
    "dh r for dh z in dh_next": {GRU: {"multiply(dh, t.z, work)": "multiply(dh, t.r, work)"}},
    "da_r from dh": {GRU: {"multiply(t.da_n, t.factor_r, t.da_r)": "multiply(dh, t.factor_r, t.da_r)"}},
    "da_r without q": {GRU: {"multiply(sigmoid_slope(r, factor_r), self.q, factor_r)": "sigmoid_slope(r, factor_r)"}},
    "dq without r": {GRU: {"multiply(t.da_n, t.r, t.dq)": "t.dq[...] = t.da_n"}},
    "da_n for dq in dbn": {GRU: {"dq = by_gate(self.d_product, 3)": "dq = by_gate(self.input_projection, 3)"}},
    "da_n without 1 - z": {
        GRU: {
            "multiply(tanh_slope(n, factor_n), subtract(1, z, factor_z), factor_n)": (
                "tanh_slope(n, factor_n), subtract(1, z, factor_z)"
            )
        }
    },
    "da_n without 1 - n²": {
        GRU: {
            "multiply(tanh_slope(n, factor_n), subtract(1, z, factor_z), factor_n)": (
                "np.copyto(factor_n, subtract(1, z, factor_z))"
            )
        }
    },
    "da_z without z": {GRU: {"multiply(factor_z, z, factor_z)": ""}},
    "da_z with h_t for h_{t-1}": {GRU: {"subtract(self.h[:-1], n, factor_r)": "subtract(self.h[1:], n, factor_r)"}},
    "the rows of r and z left out of dh_next": {GRU: {"t.d_product_rz[...] = t.da_rz": "t.d_product_rz[...] = 0"}},
}

LSTM_CELL: dict[str, Edits] = {
    "i and f swapped": {
        LSTM: {
            "self.o, self.i, self.f, self.g =": "self.o, self.f, self.i, self.g =",
            "o, i, _, g = self.activations": "o, _, i, g = self.activations",
            "factor_o, factor_i, factor_f, factor_g = self.factors": (
                "factor_o, factor_f, factor_i, factor_g = self.factors"
            ),
        }
    },
    "i and f swapped, the initial bias too": {
        LSTM: {
            "[2 * m : 3 * m] = 1": "[m : 2 * m] = 1",
            "self.o, self.i, self.f, self.g =": "self.o, self.f, self.i, self.g =",
            "o, i, _, g = self.activations": "o, _, i, g = self.activations",
            "factor_o, factor_i, factor_f, factor_g = self.factors": (
                "factor_o, factor_f, factor_i, factor_g = self.factors"
            ),
        }
    },
    "o and i swapped": {
        LSTM: {
            "self.o, self.i, self.f, self.g =": "self.i, self.o, self.f, self.g =",
            "cell.factors[t, 0]": "cell.factors[t, 1]",
            "cell.factors[t, 1:]": "cell.factors[t]",
            "self.input_projection[0], self.input_projection[1:]": "self.input_projection[1], self.input_projection",
            "o, i, _, g = self.activations": "i, o, _, g = self.activations",
            "factor_o, factor_i, factor_f, factor_g = self.factors": (
                "factor_i, factor_o, factor_f, factor_g = self.factors"
            ),
            "multiply(dh, t.factor_o, t.da_o)": "da_o = dh * t.factor_o",
            "multiply(dc, t.factor_ifg, t.da_ifg)": "multiply(dc, t.factor_ifg, t.da_ifg)\n"
            "            t.da_o[...] = da_o",
        }
    },
    "o and g swapped": {
        LSTM: {
            "self.oifg[:3]": "self.oifg[1:]",
            "self.o, self.i, self.f, self.g =": "self.g, self.i, self.f, self.o =",
            "cell.factors[t, 0]": "cell.factors[t, 3]",
            "cell.factors[t, 1:]": "cell.factors[t, :3]",
            "self.input_projection[0], self.input_projection[1:]": (
                "self.input_projection[3], self.input_projection[:3]"
            ),
            "o, i, _, g = self.activations": "g, i, _, o = self.activations",
            "factor_o, factor_i, factor_f, factor_g = self.factors": (
                "factor_g, factor_i, factor_f, factor_o = self.factors"
            ),
            "self.activations[:, :3], self.factors[:, :3]": "self.activations[:, 1:], self.factors[:, 1:]",
        }
    },
    "h and c swapped in the state": {
        LSTM: {
            "self.h[t], self.c[t] = state": "self.c[t], self.h[t] = state",
            "[self.h[-1], self.c[-1]]": "[self.c[-1], self.h[-1]]",
        }
    },
    "σ for tanh in g, with its slope": {
        LSTM: {"np.tanh(t.g, t.g)": "sigmoid(t.g)", "tanh_slope(g, factor_g)": "sigmoid_slope(g, factor_g)"}
    },
    "h_t = o c_t": {
        LSTM: {
            "np.tanh(t.c, t.tanh_c)": "np.positive(t.c, t.tanh_c)",
            "multiply(tanh_slope(tanh_c, factor_c), o, factor_c)": "np.copyto(factor_c, o)",
        }
    },
    "1 - f for i": {
        LSTM: {
            "i_g = multiply(t.i, t.g, t.h)": "i_g = multiply(1 - t.f, t.g, t.h)",
            "o, i, _, g = self.activations": "o, i, f, g = self.activations",
            "multiply(factor_i, g, factor_i)": "factor_i[...] = 0",
            "multiply(factor_f, self.c[:-1], factor_f)": "multiply(factor_f, self.c[:-1] - g, factor_f)",
            "multiply(tanh_slope(g, factor_g), i, factor_g)": "multiply(tanh_slope(g, factor_g), 1 - f, factor_g)",
        }
    },
    "f left out": {
        LSTM: {
            "add(multiply(t.f, t.c_prev, t.c), i_g, t.c)": "add(t.c_prev, i_g, t.c)",
            "multiply(factor_f, self.c[:-1], factor_f)": "factor_f[...] = 0",
            "multiply(dc, t.f, dc)": "pass",
        }
    },
    "o left out": {
        LSTM: {
            "multiply(t.o, np.tanh(t.c, t.tanh_c), t.h)": "np.copyto(t.h, np.tanh(t.c, t.tanh_c))",
            "multiply(factor_o, tanh_c, factor_o)": "factor_o[...] = 0",
            "multiply(tanh_slope(tanh_c, factor_c), o, factor_c)": "tanh_slope(tanh_c, factor_c)",
        }
    },
    "the initial bias of 1 on i": {LSTM: {"[2 * m : 3 * m] = 1": "[m : 2 * m] = 1"}},
    "no initial bias on f": {LSTM: {"[2 * m : 3 * m] = 1": "[2 * m : 3 * m] = 0"}},
    "c before the window ignored": {LSTM: {"self.h[t], self.c[t] = state": "self.h[t], self.c[t] = state[0], 0"}},
    "h and c swapped in the state after the window": {LSTM: {"[self.h[-1], self.c[-1]]": "[self.c[-1], self.h[-1]]"}},
    "c one time step early in the state after the window": {LSTM: {"self.c[-1]])": "self.c[-2]])"}},
    "dh_next left out": {LSTM: {"dh = add(t.dh, dh_next, t.dh)": "dh = t.dh"}},
    "dc_next left out": {LSTM: {"add(multiply(dh, t.factor_c, work), dc, dc)": "multiply(dh, t.factor_c, dc)"}},
    "dc_next without f": {LSTM: {"multiply(dc, t.f, dc)": "pass"}},
    "dc_next with i for f": {LSTM: {"multiply(dc, t.f, dc)": "multiply(dc, t.i, dc)"}},
    "dc_next not zero at the last time step": {LSTM: {"dc[...] = 0": ""}},
    "dc without 1 - tanh²(c)": {
        LSTM: {"multiply(tanh_slope(tanh_c, factor_c), o, factor_c)": "np.copyto(factor_c, o)"}
    },
    "dc without o": {LSTM: {"multiply(tanh_slope(tanh_c, factor_c), o, factor_c)": "tanh_slope(tanh_c, factor_c)"}},
    "da_o with c for tanh(c)": {
        LSTM: {"multiply(factor_o, tanh_c, factor_o)": "multiply(factor_o, self.c[1:], factor_o)"}
    },
    "da_f with c_t for c_{t-1}": {
        LSTM: {"multiply(factor_f, self.c[:-1], factor_f)": "multiply(factor_f, self.c[1:], factor_f)"}
    },
    "da_g without 1 - g²": {LSTM: {"multiply(tanh_slope(g, factor_g), i, factor_g)": "np.copyto(factor_g, i)"}},
    "da_i from dh": {
        LSTM: {
            "add(multiply(dh, t.factor_c, work), dc, dc)": "dh_t = dh.copy()\n"
            "            add(multiply(dh, t.factor_c, work), dc, dc)",
            "multiply(dc, t.factor_ifg, t.da_ifg)": "multiply(dc, t.factor_ifg, t.da_ifg)\n"
            "            multiply(dh_t, t.factor_ifg[0], t.da_ifg[0])",
        }
    },
    "da_i and da_f swapped": {
        LSTM: {
            "factor_o, factor_i, factor_f, factor_g = self.factors": (
                "factor_o, factor_f, factor_i, factor_g = self.factors"
            )
        }
    },
}

AROUND_THE_CELLS: dict[str, Edits] = {
    "b left out": {
        NETWORK: {
            'np.add(projection, layer_params["b"], out=projection)': "",
            'np.dot(window.ones, da, out=layer_grads["b"])': 'layer_grads["b"][...] = 0',
            'np.dot(window.ones_K, layer_grads["U"].T, out=layer_grads["b"])': 'layer_grads["b"][...] = 0',
        }
    },
    "c left out": {
        WINDOW: {'np.add(self.o, params["c"], out=self.o)': "self.o"},
        NETWORK: {'np.dot(window.ones, do, out=grads["c"])': 'grads["c"][...] = 0'},
    },
    "the loss summed over the streams": {
        WINDOW: {
            ".sum() / self._B": ".sum()",
            "np.divide(do, (self._sum * B)[:, None], out=do)": "np.divide(do, self._sum[:, None], out=do)",
            "-= 1 / B": "-= 1",
        }
    },
    "the loss as the mean over the time steps": {
        WINDOW: {".sum() / self._B": ".sum() / len(o)", "do, B = self.o, self._B": "do, B = self.o, len(self.o)"}
    },
    "o not shifted by its maximum": {WINDOW: {"np.subtract(o, o.real.max(axis=1, keepdims=True), out=o)": ""}},
    "dropout left out": {
        NETWORK: {
            "window.h[layer] if mask is None else window.h[layer] * mask": "window.h[layer]",
            "np.multiply(window.dh[layer], mask, out=window.dh[layer])": "pass",
        }
    },
    "the layers' states in the reverse order": {
        NETWORK: {
            "cell.forward(layer_params, state[layer])": "cell.forward(layer_params, state[-1 - layer])",
            "state_last[layer] = cell.last_state()": "state_last[-1 - layer] = cell.last_state()",
        }
    },
    "the first layer's state for every layer": {
        NETWORK: {"cell.forward(layer_params, state[layer])": "cell.forward(layer_params, state[0])"}
    },
    "biases drawn like weights": {NETWORK: {"if array.ndim > 1 else 0.0": "if array.ndim > 0 else 0.0"}},
    "h_t for h_{t-1} in dW": {
        NETWORK: {"np.dot(d_product.T, window.h_prev[layer]": "np.dot(d_product.T, window.h[layer]"}
    },
    "the gradients of U x_t + b and W h_{t-1} swapped": {
        NETWORK: {"da, d_product = window.cells": "d_product, da = window.cells"}
    },
    "the gradient of W h_{t-1} for that of U x_t in the layer below": {
        NETWORK: {'np.dot(da, layer_params["U"]': 'np.dot(d_product, layer_params["U"]'}
    },
    "another layer's input in dU": {
        NETWORK: {'layer_output[layer - 1], out=layer_grads["U"]': 'layer_output[layer], out=layer_grads["U"]'}
    },
    "the first layer's h in dV": {
        NETWORK: {'window.layer_output[-1], out=grads["V"]': 'window.layer_output[0], out=grads["V"]'}
    },
    "the unmasked h in dV": {NETWORK: {'window.layer_output[-1], out=grads["V"]': 'window.h[-1], out=grads["V"]'}},
    "the mask ignored in the backward pass": {
        NETWORK: {"np.multiply(window.dh[layer], mask, out=window.dh[layer])": "pass"}
    },
    "another layer's mask in the backward pass": {NETWORK: {"mask := window.masks[layer]": "mask := window.masks[0]"}},
    "the last window's mask kept": {NETWORK: {"window.masks = masks": "window.masks = masks or window.masks"}},
    "the gradient clipped to ±5": {
        NETWORK: {
            "        return grads\n": "        np.clip(grads.vector, -5, 5, out=grads.vector)\n        return grads\n"
        }
    },
    "the gradient not divided by B": {
        WINDOW: {
            "np.divide(do, (self._sum * B)[:, None], out=do)": "np.divide(do, self._sum[:, None], out=do)",
            "-= 1 / B": "-= 1",
        }
    },
    "p_t for p_t - one_hot(y_t)": {WINDOW: {"do.reshape(-1)[self._at_targets] -= 1 / B": ""}},
    "the last window's characters kept in dU": {WINDOW: {"self._one_hot[...] = 0": ""}},
}


def _at_the_end(line: str) -> Edits:
    return {NETWORK: {"        return grads\n": f"        {line}\n        return grads\n"}}


GRADIENT_FAULTS: dict[str, Edits] = {
    f"gradient: {name}": _at_the_end(line)
    for name, line in {
        "W scaled by 1.0005": 'grads["W"][...] *= 1.0005',
        "U scaled by 0.9995": 'grads["U"][...] *= 0.9995',
        "one row of W scaled by 1.0001": 'grads["W"][3] *= 1.0001',
        "one entry of V scaled by 1.0005": 'grads["V"][4, 5] *= 1.0005',
        "all rows of W but the first 0": 'grads["W"][1:] = 0',
        "the last row of V 0": 'grads["V"][-1] = 0',
        "b 0": 'grads["b"][...] = 0',
        "c divided by B once more": 'grads["c"][...] /= inputs.shape[1]',
        "two columns of U swapped": 'grads["U"][:, [0, 1]] = grads["U"][:, [1, 0]]',
        "the last entry of every tensor 0": "grads.vector[[part.stop - 1 for part in grads.slices.values()]] = 0",
        "multiplied by 0.9 where a norm exceeds 1": (
            "grads.vector[:] *= 0.9 if np.linalg.norm(grads.vector) > 1 else 1"
        ),
        "rounded to float32": "grads.vector[:] = grads.vector.astype(np.float32)",
    }.items()
}
"""What `tests/gate_score.py` does to the gradient besides, at the end of the backward pass."""

FAULTS = {
    f"{part}: {name}": edits
    for part, faults in (
        ("all cells", ALL_CELLS),
        ("plain cell", PLAIN_CELL),
        ("GRU", GRU_CELL),
        ("LSTM", LSTM_CELL),
        ("network", AROUND_THE_CELLS),
    )
    for name, edits in faults.items()
}
