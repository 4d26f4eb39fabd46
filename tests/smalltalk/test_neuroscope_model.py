"""A model in an image: its passes, hooks and interventions are those that Python sees."""

import numpy as np
import pytest
from neuroscope import IOI, ask, capture
from systems import System

from bridge.client import LMStudioNeuroScopeClient

PROMPT = "The capital of France is"
CAUGHT = "on: {} do: [:error | error messageText]"


def test_text_becomes_the_tokens_of_the_server_and_comes_back(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    tokens, texts, text = ask(
        system,
        engine,
        f"| t | t := model tokenizer encode: '{PROMPT}';; "
        "{t. t collect: [:each | model tokenizer decode: {each}]. model tokenizer decode: t}",
    )
    expected = engine.tokenize(PROMPT)
    assert (tokens, texts, text) == (expected["tokens"], expected["texts"], PROMPT)


def test_a_configuration_answers_both_spellings(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    entry = engine.list_models()["data"][0]
    hidden, camel, snake, heads, kind, vocabulary = ask(
        system,
        engine,
        "{model config at: #hiddenSize. model config at: 'numLayers'. model config at: "
        "'num_layers'. model config at: #numHeads. model config at: #modelType. "
        "model tokenizer vocabularySize}",
    )
    assert (hidden, heads, kind) == (entry["hidden_size"], entry["heads"], entry["architecture"])
    assert camel == snake == entry["layers"]
    assert vocabulary == entry["vocab_size"]


def test_sizes_and_layers_are_those_of_the_model(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    entry = engine.list_models()["data"][0]
    positions, layers, sizes, printed, same = ask(
        system,
        engine,
        "| last | last := model layers last;; "
        "{model config at: #maxPositionEmbeddings. model layers size. "
        "{last index. last attentionHeads. last mlpSize}. last printString. "
        "((model runWithCaching: #(1 2) layers: {last} components: #(#mlp)) at: 29 at: #mlp) norm "
        "= ((model runWithCaching: #(1 2) layers: #(29) components: #(#mlp)) at: last at: #mlp) "
        "norm}",
    )
    assert positions == entry["max_position_embeddings"] == 8192
    assert layers == entry["layers"]
    assert sizes == [29, entry["heads"], 1536]
    assert printed == "TransformerLayer 29"
    assert same


def test_errors_are_of_the_kinds_that_neuroscope_names(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    nobody, text, token, large = ask(
        system,
        engine,
        "| nobody | nobody := LMStudioRESTClient baseUrl: 'http://127.0.0.1:9';; "
        "{[TransformerModel fromHuggingFace: 'smollm2' client: nobody] "
        f"{CAUGHT.format('NetworkError')}. "
        f"[model tokenizer encode: #(1 2)] {CAUGHT.format('TokenizationError')}. "
        f"[model tokenizer decode: #(49152)] {CAUGHT.format('TokenizationError')}. "
        f"(LMStudioError fromResponse: (LMStudioResponse status: 507 bytes: "
        "(NeuroScopePlatform current bytesFrom: #()))) isKindOf: MemoryError}",
    )
    assert "127.0.0.1:9" in nobody
    assert "text" in text
    assert "49152" in token
    assert large


def test_logits_of_a_forward_pass_are_those_of_python(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    shape, last, values, indices, next_text = ask(
        system,
        engine,
        f"| o top | o := model forward: (model tokenizer encode: '{PROMPT}');; "
        "top := o logits last softmax topK: 3;; {o logits shape. o logits last norm. "
        "top at: #values. top at: #indices. model tokenizer decode: {o nextToken}}",
    )
    logits = capture(engine, PROMPT)["logits"]
    powers = np.exp(logits[-1] - logits[-1].max())
    order = np.argsort(-powers)[:3]
    assert shape == list(logits.shape)
    assert last == pytest.approx(np.linalg.norm(logits[-1]), rel=1e-6)
    assert indices == order.tolist()
    assert values == pytest.approx(powers[order] / powers.sum(), rel=1e-4)
    assert next_text == " Paris"


def test_cached_activations_answer_both_kinds_of_key(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    one, other, scores, names, missing = ask(
        system,
        engine,
        f"| r t | t := model tokenizer encode: '{PROMPT}';; "
        "r := model runWithCaching: t layers: #(0 5) "
        "components: #(#residual #attention #layerNorm #attentionWeights);; "
        "{{(r cachedActivations at: 5 -> #residual) shape. "
        "(r cachedActivations at: 5 -> #residual) mean}. "
        "{(r cachedActivations at: 5 at: #residual) norm. (r at: 0 at: #layerNorm) norm. "
        "(r cachedActivations at: 0 at: #attention) norm}. "
        "(r at: 5 at: #attentionWeights) data. r cachedActivations size. "
        f"[r at: 7 at: #mlp] {CAUGHT.format('Error')}}}",
    )
    places = [(5, "residual"), (0, "layernorm"), (0, "attention"), (5, "attention_pattern")]
    found = capture(engine, PROMPT, *places)
    assert one == [[1, 5, 576], pytest.approx(found[places[0]].mean(), rel=1e-5)]
    assert other == pytest.approx([np.linalg.norm(found[p]) for p in places[:3]], rel=1e-6)
    assert scores == pytest.approx(found[places[3]].ravel(), rel=1e-5, abs=1e-9)
    assert names == 8
    assert "no activation of 7" in missing


def test_hooks_see_each_activation_of_a_pass(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    seen, means, data, kept, hidden = ask(
        system,
        engine,
        "| seen watch keep all t | seen := OrderedCollection new;; "
        f"t := model tokenizer encode: '{PROMPT}';; "
        "all := ActivationHook new name: 'all'; layer: #all; "
        "action: [:activation :layer | seen add: layer. activation * 0]; yourself;; "
        "watch := ActivationHook layer: 5 component: #mlp action: [:activation | activation mean];;"
        "keep := CachingHook name: 'keep' maxSize: 3;; keep layer: #(1 2);; "
        "model hookManager addHook: all; addHook: watch; addHook: keep;; "
        "model forward: t;; model hookManager disableHook: 'all';; model forward: t;; "
        "{seen asArray. watch lastResult. (watch extractedData at: #mlp) norm. "
        "{keep cachedActivations size. (keep getCachedData: #layer2) norm. "
        "(keep getCachedData: 1) norm. "
        "(model hookManager hookNamed: 'layer5-mlp') executionCount}. "
        "(model forward: t) hiddenStates size}",
    )
    found = capture(engine, PROMPT, (5, "mlp"), (1, "residual"), (2, "residual"))
    assert seen == list(range(30))
    assert means == pytest.approx(found[5, "mlp"].mean(), rel=1e-4)
    assert data == pytest.approx(np.linalg.norm(found[5, "mlp"]), rel=1e-6)
    norms = [np.linalg.norm(found[layer, "residual"]) for layer in (2, 1)]
    assert kept == [3, *(pytest.approx(norm, rel=1e-6) for norm in norms), 2]
    assert hidden == 2


def test_what_does_not_exist_is_named_with_what_does(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    layer, component, twice, nobody, model = ask(
        system,
        engine,
        "{[model runWithCaching: #(1 2) layers: #(30) components: #(#mlp)] "
        f"{CAUGHT.format('InvalidLayerError')}. "
        "[model addHook: (ActivationHook layer: 0 component: #heart); forward: #(1 2)] "
        f"{CAUGHT.format('UnknownComponentError')}. "
        "[model addHook: (Hook named: 'layer0-heart')] "
        f"{CAUGHT.format('DuplicateHookError')}. "
        f"[model hookManager hookNamed: 'nobody'] {CAUGHT.format('Error')}. "
        "[TransformerModel remote: client named: 'nobody'] "
        f"{CAUGHT.format('ModelNotFoundError')}}}",
    )
    assert layer == "no layer 30; there are layers 0 to 29"
    assert component.startswith("no component heart; there are embedding residual")
    assert "layer0-heart already" in twice
    assert "there are layer0-heart" in nobody
    assert "nobody" in model


def test_declared_interventions_act_inside_the_engine(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    scaled, noisy, patched, plain = ask(
        system,
        engine,
        f"| t h p | t := model tokenizer encode: '{PROMPT}';; "
        "h := InterventionHook layer: 8 component: #mlp type: #scaling;; h factor: 0.5;; "
        "model addHook: h;; p := {(model forward: t) logits last norm};; model removeHook: h;; "
        "h := InterventionHook layer: 8 component: #mlp type: #noise;; h scale: 0.1 seed: 7;; "
        "model addHook: h;; p := p , {(model forward: t) logits last norm};; model removeHook: h;; "
        "h := InterventionHook layer: 8 component: #mlp type: #patching;; "
        "h positions: #(-1);; h value: (ActivationTensor ones: #(1 1 576));; "
        "model addHook: h;; p := p , {(model forward: t) logits last norm};; model clearHooks;; "
        "p , {(model forward: t) logits last norm}",
    )
    where = {"layer_name": "8", "component": "mlp"}
    changes = [
        {"operation": "scaling", "factor": 0.5},
        {"operation": "noise", "scale": 0.1, "seed": 7},
        {
            "operation": "replacement",
            "positions": [-1],
            "value": {"shape": [1, 1, 576], "data": [1] * 576},
        },
    ]
    expected = [
        np.linalg.norm(capture(engine, PROMPT, interventions=[where | c])["logits"][-1])
        for c in changes
    ]
    assert [scaled, noisy, patched] == pytest.approx(expected, rel=1e-6)
    assert plain == pytest.approx(np.linalg.norm(capture(engine, PROMPT)["logits"][-1]), rel=1e-6)
    assert len({round(norm, 2) for norm in (scaled, noisy, patched, plain)}) == 4


def test_a_block_gives_exactly_the_logits_of_the_declared_change(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    shape, apart, moved, kept = ask(
        system,
        engine,
        f"| t plain live declared hook shape | t := model tokenizer encode: '{IOI}';; "
        "plain := (model forward: t) logits last;; "
        "hook := InterventionHook new layer: 23; zeroHeads: #(3); yourself;; model addHook: hook;; "
        "declared := (model forward: t) logits last;; model removeHook: hook;; "
        "hook := InterventionHook layer: 23 component: #headOutput "
        "action: [:activation | shape := activation shape. activation zeroHeads: #(3)];; "
        "model addHook: hook;; live := (model forward: t) logits last;; model clearHooks;; "
        "model addHook: (hook condition: [:activation | activation shape first > 1]; yourself);; "
        "{shape. (live - declared) abs max. (live - plain) abs max. "
        "((model forward: t) logits last - plain) abs max}",
    )
    assert shape == [1, 9, 14, 64]
    assert apart == 0
    assert moved > 0.1
    assert kept == 0


def test_a_block_may_change_the_very_tensor_and_its_condition_is_asked_once_a_stop(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    apart, asked = ask(
        system,
        engine,
        "| hook declared asked | asked := OrderedCollection new;; "
        "hook := InterventionHook layer: 7 component: #mlp type: #ablation;; model addHook: hook;; "
        "declared := (model forward: #(1 2 3)) logits;; model removeHook: hook;; "
        "hook := InterventionHook layer: 7 component: #mlp action: [:activation | "
        "1 to: activation size do: [:index | activation data at: index put: 0]. activation];; "
        "hook condition: [:activation | asked add: activation. true];; model addHook: hook;; "
        "{((model forward: #(1 2 3)) logits - declared) abs max. asked size}",
    )
    assert (apart, asked) == (0, 1)


def test_a_block_that_fails_gives_the_pass_up_and_says_why(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    failed, wrong, again = ask(
        system,
        engine,
        "| hook | hook := InterventionHook layer: 3 component: #residual "
        "action: [:activation | self error: 'the block failed'];; model addHook: hook;; "
        f"{{[model forward: #(1 2 3)] {CAUGHT.format('Error')}. "
        "[hook action: [:activation | 7]. model forward: #(1 2 3)] "
        f"{CAUGHT.format('InvalidDataError')}. "
        "[hook action: [:activation | activation * 2]. (model forward: #(1 2 3)) logits shape] "
        "value}",
    )
    assert failed == "the block failed"
    assert "answered 7, not a tensor" in wrong
    assert again == [3, 49152]


def test_hooks_see_each_pass_of_a_generation(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    text, lengths = ask(
        system,
        engine,
        "| lengths text | lengths := OrderedCollection new;; "
        "model addHook: (ActivationHook layer: 0 component: #residual "
        "action: [:activation | lengths add: (activation shape at: 2)]);; "
        f"text := model generate: '{PROMPT}' maxTokens: 4;; {{text. lengths asArray}}",
    )
    reply = engine.generate_with_activations(
        PROMPT, [{"layer_name": "0", "component": "residual"}], max_tokens=4, temperature=0
    )
    assert text == PROMPT + reply["choices"][0]["text"]
    assert lengths == [5, *[1] * (len(lengths) - 1)]
    assert len(lengths) == len(reply["activations"]["layer_0_residual"])


def test_a_block_in_a_generation_gives_exactly_the_completion_of_the_declared_change(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    same, changed, tokens, shapes, text = ask(
        system,
        engine,
        "| options chosen live plain declared shapes hook | shapes := OrderedCollection new;; "
        "options := LMStudioRecord withAll: {'max_tokens' -> 4. 'logprobs' -> 1};; "
        "chosen := [:reply | | found | found := (reply at: 'choices') first at: 'logprobs'. "
        "(found at: 'tokens') , (found at: 'token_logprobs')];; "
        "live := [chosen value: ("
        "(NeuroScopeLiveSession client: client manager: model hookManager) "
        f"complete: '{PROMPT}' options: options)];; "
        f"plain := [chosen value: (client completionWithActivations: '{PROMPT}' hooks: #() "
        "options: options)];; "
        "hook := InterventionHook layer: 23 component: #headOutput "
        "action: [:activation | shapes add: activation shape asArray. activation];; "
        "model addHook: hook;; live := {live value. "
        "hook action: [:activation | activation zeroHeads: #(3)]. live value};; "
        "model clearHooks;; hook := InterventionHook new layer: 23; zeroHeads: #(3); yourself;; "
        "declared := hook interventionsOn: model;; plain := {plain value. "
        "options at: 'interventions' put: declared. plain value};; "
        "model addHook: (InterventionHook layer: 0 component: #mlp "
        "action: [:activation | activation * 0]);; "
        "{{live first = plain first. live last = plain last}. live first = live last. "
        "live last copyFrom: 1 to: 4. shapes asArray. "
        f"model generate: '{PROMPT}' maxTokens: 4}}",
    )
    options = {"max_tokens": 4, "logprobs": 1}
    head = {"layer_name": "23", "component": "head_output", "heads": [3], "operation": "ablation"}
    mlp = {"layer_name": "0", "component": "mlp", "operation": "ablation"}
    declared, silenced = (
        engine.generate_with_activations(PROMPT, [], interventions=[change], **options)["choices"]
        for change in (head, mlp)
    )
    assert same == [True, True]
    assert not changed
    assert tokens == declared[0]["logprobs"]["tokens"]
    assert shapes == [[1, 9, 4, 64], *[[1, 9, 1, 64]] * 4]
    assert text == PROMPT + silenced[0]["text"] != PROMPT + declared[0]["text"]


def test_hooks_that_look_see_what_a_block_made_of_a_generation(
    system: System, engine: LMStudioNeuroScopeClient
) -> None:
    kept, count, last = ask(
        system,
        engine,
        "| keep watch | keep := CachingHook name: 'keep' maxSize: 9;; keep layer: 5;; "
        "watch := ActivationHook layer: 5 component: #residual action: [:a | a max];; "
        "model addHook: keep; addHook: watch; addHook: (InterventionHook layer: 5 "
        "component: #residual action: [:activation | activation * 0]);; "
        f"model generate: '{PROMPT}' maxTokens: 3;; "
        "{keep cachedActivations collect: [:each | each norm]. watch executionCount. "
        "watch lastResult}",
    )
    assert kept == [0, 0, 0]
    assert (count, last) == (3, 0)
