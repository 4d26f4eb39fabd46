"""How long it takes to score all edges of a model, and to run a circuit, beside PyTorch.

    python -m benchmarks.edges

The default model in float32, the same weights on both sides, in one process in turn. In PyTorch
each destination of a layer reads a stream of its own, all heads of the layer in one batch, and one
backward pass has the gradients of all; what each source writes is multiplied with them.
"""

import engine  # noqa: F401

# isort: split
import click
import mlx.core as mx
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from benchmarks.pytorch import in_pytorch, timed
from engine.analysis.circuits import Task
from engine.analysis.edges.attribution import edge_scores
from engine.analysis.edges.graph import Graph
from engine.analysis.edges.model import edge_model
from engine.analysis.edges.patched import CircuitRuns
from engine.runs.kit import load_model, single_token, tokenize

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
STEPS = 5


class Edges:
    """The default model in PyTorch, in which each destination reads by itself."""

    def __init__(self, model, task: Task, graph: Graph):
        self.model, self.task, self.graph = model, task, graph
        self.heads, self.groups = graph.heads[0], graph.groups[0]
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.clean, self.corrupted = map(self._embedded, (task.clean, task.corrupted))

    def scores(self, shares: list[float]) -> np.ndarray:
        """Scores of all edges, ``[destinations, sources]``."""
        ends = self.clean, self.corrupted
        with torch.no_grad():
            clean, corrupted = (torch.cat(self.run(each)[2]) for each in ends)
        changes = (corrupted - clean).flatten(1)
        total = torch.zeros(len(self.graph.destinations), len(self.graph.sources))
        for share in shares:
            score, reads, _ = self.run(ends[1] + share * (ends[0] - ends[1]))
            slopes = torch.cat(torch.autograd.grad(score, reads)).flatten(1)
            total += slopes @ changes.T / len(shares)
        return total.numpy() * self.graph.edges

    def _embedded(self, tokens) -> torch.Tensor:
        return self.model.model.embed_tokens(torch.tensor(list(tokens)))

    def run(self, embeddings: torch.Tensor):
        """The score, what each destination adds to what it reads (zeros), and what each source
        writes, in the order of the graph."""
        length = len(embeddings)
        turn = self.model.model.rotary_emb(embeddings[None], torch.arange(length)[None])
        mask = torch.full((length, length), -torch.inf).triu(1)
        reads: list[torch.Tensor] = []
        writes = [embeddings[None]]
        stream = embeddings

        def read(units: int) -> torch.Tensor:
            reads.append(torch.zeros(units, *stream.shape, requires_grad=True))
            return stream + reads[-1]

        for block in self.model.model.layers:
            attention, values = block.self_attn, []
            for units, projection in (
                (self.heads, attention.q_proj),
                (self.groups, attention.k_proj),
                (self.groups, attention.v_proj),
            ):
                weights = projection.weight.reshape(units, -1, stream.shape[-1])
                seen = block.input_layernorm(read(units))
                values.append(torch.einsum("uph,udh->upd", seen, weights))
            query, key = (
                each[0] for each in apply_rotary_pos_emb(*(v[None] for v in values[:2]), *turn)
            )
            shared = self.heads // self.groups
            key, value = (each.repeat_interleave(shared, 0) for each in (key, values[2]))
            pattern = (query @ key.mT / key.shape[-1] ** 0.5 + mask).softmax(-1)
            output = attention.o_proj.weight.reshape(stream.shape[-1], self.heads, -1)
            writes.append(torch.einsum("upd,hud->uph", pattern @ value, output))
            stream = stream + writes[-1].sum(0)
            writes.append(block.mlp(block.post_attention_layernorm(read(1))))
            stream = stream + writes[-1][0]
        logits = self.model.lm_head(self.model.model.norm(read(1)))[0, -1]
        return self.task_score(logits), reads, writes

    def task_score(self, logits: torch.Tensor) -> torch.Tensor:
        """The logit difference."""
        return logits[self.task.answers].mean() - logits[self.task.distractors].mean()


@click.command()
def main() -> None:
    """Print the times, their ratios, and how far the scores differ."""
    kit = load_model("smollm2", dtype="float32")
    answer, distractor = (single_token(kit, name) for name in (" Mary", " John"))
    task = Task(tokenize(kit, CLEAN), tokenize(kit, CORRUPTED), answer, distractor)
    model = edge_model(kit)
    pytorch = Edges(in_pytorch(kit), task, model.graph)
    tokens = mx.array([task.clean])
    mx.eval(kit.model(tokens))
    use_best_threads(pytorch)
    once, _ = timed(lambda: mx.eval(kit.model(tokens)))
    table = Table("SmolLM2-135M, float32, 70,651 edges", "here", "PyTorch", "difference", box=None)
    for name, method, shares in (
        ("EAP", "eap", [1.0]),
        ("EAP-IG, 5 steps", "eap_ig", [(step + 1) / STEPS for step in range(STEPS)]),
    ):
        ours, found = timed(lambda method=method: edge_scores(kit, task, method=method))
        theirs, expected = timed(lambda shares=shares: pytorch.scores(shares))
        gap = np.abs(found.scores - expected).max() / np.abs(expected).max()
        table.add_row(name, f"{ours:.2f} s", f"{theirs:.2f} s", f"{gap:.0e}")
    runs = CircuitRuns(kit, model, task)
    kept = model.graph.edges.copy()
    for place in model.graph.ranked(found.scores)[500:]:
        kept[place] = False
    circuit, _ = timed(lambda: runs.run(kept))
    table.add_row("a circuit of 500 edges", f"{circuit:.2f} s", "", "")
    table.add_row("a forward pass", f"{once:.2f} s", "", "")
    Console(width=100).print(table)


def use_best_threads(pytorch: Edges) -> None:
    """Give PyTorch as many threads as serve it best now: on a busy machine, one."""
    times = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        with torch.no_grad():
            times[threads], _ = timed(lambda: pytorch.run(pytorch.clean))
    torch.set_num_threads(min(times, key=times.get))


if __name__ == "__main__":
    main()
