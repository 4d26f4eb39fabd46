"""A llama of transformers written out in PyTorch, in which each part reads a stream of its own."""

from collections.abc import Callable, Iterable

import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

Read = Callable[[str, torch.Tensor], torch.Tensor]
"""From the name of a destination, and the residual stream ``[seq, hidden]``, to what it reads."""


class WrittenOut:
    """The model over prompts, one at a time; `writes` are those of the last run by source."""

    def __init__(self, model):
        self.model = model.model
        self.head = model.lm_head
        self.config = model.config
        self.heads = self.config.num_attention_heads
        self.groups = self.config.num_key_value_heads
        self.width = getattr(self.config, "head_dim", None)
        self.width = self.width or self.config.hidden_size // self.heads
        self.writes: dict[str, torch.Tensor] = {}

    def embedded(self, tokens) -> torch.Tensor:
        return self.model.embed_tokens(torch.tensor(list(tokens)))

    def run(self, embeddings: torch.Tensor, read: Read = lambda name, stream: stream):
        """The logits of the last position, ``[vocab]``."""
        length = len(embeddings)
        turn = self.model.rotary_emb(embeddings[None], torch.arange(length)[None])
        mask = torch.full((length, length), -torch.inf).triu(1)
        self.writes = {"input": embeddings}
        stream = embeddings
        for layer, block in enumerate(self.model.layers):
            written = [
                self._head(f"a{layer}", block, head, stream, read, turn, mask)
                for head in range(self.heads)
            ]
            for head, each in enumerate(written):
                self.writes[f"a{layer}.h{head}"] = each
            middle = stream + sum(written)
            seen = block.post_attention_layernorm(read(f"m{layer}", middle))
            self.writes[f"m{layer}"] = block.mlp(seen)
            stream = middle + self.writes[f"m{layer}"]
        return self.head(self.model.norm(read("logits", stream)))[-1]

    def _head(self, name, block, head, stream, read, turn, mask) -> torch.Tensor:
        attention, group = block.self_attn, head * self.groups // self.heads
        shared = f"{name}.g{group}" if self.groups != self.heads else f"{name}.h{head}"

        def projected(weight, unit, what):
            seen = block.input_layernorm(read(what, stream))
            return seen @ weight[unit * self.width : (unit + 1) * self.width].T

        query = projected(attention.q_proj.weight, head, f"{name}.h{head}.q")
        key = projected(attention.k_proj.weight, group, f"{shared}.k")
        value = projected(attention.v_proj.weight, group, f"{shared}.v")
        query, key = (
            each[0, 0] for each in apply_rotary_pos_emb(query[None, None], key[None, None], *turn)
        )
        pattern = (query @ key.T / self.width**0.5 + mask).softmax(-1)
        columns = slice(head * self.width, (head + 1) * self.width)
        return pattern @ value @ attention.o_proj.weight[:, columns].T

    # --- estimates and exact runs -----------------------------------------------------------

    def slopes(self, task, score, shares: Iterable[float], graph) -> torch.Tensor:
        """Scores of edges, ``[destinations, sources]``: the mean gradient of the score at each
        destination of runs between the prompts, times what each source writes otherwise."""
        with torch.no_grad():
            clean, corrupted = self.embedded(task.clean), self.embedded(task.corrupted)
            changes = self.changes(task)
        total = torch.zeros(len(graph.destinations), len(graph.sources))
        shares = list(shares)
        for share in shares:
            leaves: dict[str, torch.Tensor] = {}

            def read(name, stream, leaves=leaves):
                if name not in leaves:
                    leaves[name] = torch.zeros_like(stream, requires_grad=True)
                return stream + leaves[name]

            start = (corrupted + share * (clean - corrupted)).detach()
            found = score(self.run(start, read))
            grads = torch.stack(
                torch.autograd.grad(found, [leaves[node.name] for node in graph.destinations])
            )
            writes = torch.stack([changes[node.name] for node in graph.sources])
            total += torch.einsum("dsh,ush->du", grads, writes) / len(shares)
        return total * torch.tensor(graph.edges)

    @torch.no_grad()
    def changes(self, task) -> dict[str, torch.Tensor]:
        """What each source writes over the corrupted prompt less what it writes over the clean."""
        self.run(self.embedded(task.clean))
        clean = self.writes
        self.run(self.embedded(task.corrupted))
        return {name: self.writes[name] - clean[name] for name in clean}

    @torch.no_grad()
    def circuit(self, task, patched: set[tuple[str, str]]) -> torch.Tensor:
        """The logits of a run over the clean prompt in which the patched edges carry what they do
        over the corrupted one."""
        self.run(self.embedded(task.corrupted))
        corrupted = self.writes

        def read(name, stream):
            for source, destination in patched:
                if destination == name and source in self.writes:
                    stream = stream + corrupted[source] - self.writes[source]
            return stream

        return self.run(self.embedded(task.clean), read)
