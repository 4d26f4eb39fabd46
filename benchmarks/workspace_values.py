"""The values of the variables that NeuroScope's documents use without an assignment.

Beside them are the examples of the data sets that they name.

A name in angle brackets stands for another value of the table.
"""


def _hook(name: str, kind: str = "ActivationHook", layer: int = 5) -> str:
    return f"{kind} new name: '{name}'; layer: {layer}; yourself"


def _texts(*texts: str) -> str:
    return "#(" + " ".join(f"'{text}'" for text in texts) + ")"


HAPPY = ("I love this film", "What a wonderful day", "This is great", "She is very happy")
SAD = ("I hate this film", "What an awful day", "This is terrible", "He is very sad")
LABELS = "#(#positive #positive #positive #positive #negative #negative #negative #negative)"
HOOKS = (
    "attention_analysis",
    "detailed_analysis",
    "optional_hook",
    "monitor",
    "hook1",
    "hook2",
    "hook3",
    "expensive_analysis",
    "intervention_hook",
    "attention_ablation",
    "layer_monitor",
)
"""The hooks that the documents call by a name."""
VALUES = {
    "aModel": "TransformerModel fromHuggingFace: 'gpt2-small'",
    "model": "<aModel> forward: 'The cat sat on the mat and slept'; yourself",
    "model1": "<aModel>",
    "model2": "<aModel>",
    "myModel": "<aModel>",
    "text": "'The cat sat on the mat'",
    "prompt": "<text>",
    "inputText": "<text>",
    "testText": "<text>",
    "analysisText": "<text>",
    "textArray": _texts(*HAPPY),
    "sentences": _texts(*HAPPY),
    "testSentences": _texts(*HAPPY),
    "trainingTexts": _texts(*HAPPY, *SAD),
    "testTexts": _texts(*HAPPY, *SAD),
    "sentimentLabels": LABELS,
    "testLabels": LABELS,
    "tokens": "<aModel> tokenizer encode: <text>",
    "inputTokens": "<aModel> tokenizer encode: 'one cat sat and one cat ran and one cat sat'",
    "testTokens": "<tokens>",
    "cleanTokens": "<tokens>",
    "analysisTokens": "<tokens>",
    "dangerousTokens": "<tokens>",
    "corruptedTokens": "<aModel> tokenizer encode: 'The dog sat on the mat'",
    "manager": "<aModel> hookManager removeAllHooks; enablePerformanceMonitoring; addHooks: (#("
    + " ".join(f"'{name}'" for name in HOOKS)
    + ") collect: [:each | (Hook named: each) layer: 5; yourself]); yourself",
    "finder": "CircuitFinder for: <aModel>",
    "circuitFinder": "<finder>",
    "analyzer": "AttentionAnalyzer for: <aModel>",
    "attentionAnalyzer": "<analyzer>",
    "hook": _hook("hook", "Hook"),
    "hooks": "{<hook>. <debugHook>}",
    "allHooks": "<hooks>",
    "newHooks": "{" + _hook("new1") + ". " + _hook("new2") + "}",
    "experimentHooks": "{" + _hook("experiment1") + ". " + _hook("experiment2") + "}",
    "newExperimentHooks": "<newHooks>",
    "complexHooks": "{" + _hook("complex1") + ". " + _hook("complex2") + "}",
    "unorderedHooks": "{" + _hook("unordered1") + ". " + _hook("unordered2") + "}",
    "experimentalHooks": "<hooks>",
    **{
        name: _hook(name)
        for name in (
            "monitorHook",
            "analysisHook",
            "debugHook",
            "finalHook",
            "advancedHook",
            "newHook",
            "myHook",
            "myActivationHook",
            "monitoringHook",
            "preprocessingHook",
            "postprocessingHook",
        )
    },
    "cachingHook": _hook("cachingHook", "CachingHook"),
    "cacheHook": _hook("cacheHook", "CachingHook"),
    "interventionHook": _hook("interventionHook", "InterventionHook"),
    "ablationHook": _hook("ablationHook", "InterventionHook"),
    **dict.fromkeys(
        (
            "debugMode",
            "experimentalMode",
            "analysisMode",
            "interventionActive",
            "ablationActive",
            "ablationEnabled",
            "experimentEnded",
            "newCondition",
        ),
        "true",
    ),
    "interventionStrength": "0.5",
    "threshold": "0.5",
    "maxActivationThreshold": "100",
    "minBatchSize": "0",
    "currentStep": "20",
    "currentToken": "6",
    "ablationTargets": "#(3)",
    "targetHeads": "#(2 5)",
    "targetLayers": "#(2 5)",
    "results": "Dictionary new",
    "layerActivations": "Dictionary new",
    "totalForwardPassTime": "1000",
    "layerIndex": "5",
    "tensor": "ActivationTensor random: #(8 16 768)",
    "tensor1": "ActivationTensor random: #(2 3)",
    "tensor2": "ActivationTensor random: #(2 3)",
    "activation": "(<aModel> runWithCaching: <tokens> layers: #(5) components: #(#residual))"
    " at: 5 at: #residual",
    "activationTensor": "<activation>",
    "layerActivation": "<activation>",
    "originalActivation": "<activation>",
    "patchedActivation": "<activation>",
    "activations": "ActivationTensor random: #(1 32 768)",
    "trainingHooks": "{" + _hook("training1") + "}",
    "inferenceHooks": "{" + _hook("inference1") + "}",
    "largeTensor": "ActivationTensor random: #(100 768)",
    "cleanActivations": "(<aModel> runWithCaching: <tokens> layers: #(5) components: #(#residual))"
    " cachedActivations",
    "testData": "((<aModel> capture: <text> layers: #(6) components: #(#residual)) at: 6 at:"
    " #residual) -> #(#positive #negative #positive #negative #positive #negative)",
    "dataset": "<indirectObjectExamples>",
    "testDataset": "<trainingTexts>",
    "myLinearProbe": "LinearProbe input: (ActivationTensor random: #(4 768))"
    " labels: #(#a #b #a #b) regularization: 0.01",
    "probe": "LinearProbe for: <aModel>",
    "trainedProbe": "<myLinearProbe> train; yourself",
    "sourceTokens": "<aModel> tokenizer textsOf: <tokens>",
    "targetTokens": "<sourceTokens>",
    "attentionMatrix": "<attentionAnalysis> attentionAt: 5 head: 3",
    "allHeadPatterns": "<attentionAnalysis> attentionAt: 5",
    "attentionMatrices": "<allHeadPatterns>",
    "attentionData": "<attentionAnalysis>",
    "flowData": "<attentionMatrix>",
    "visualizer": "AttentionVisualizer for: <aModel>",
    "lens": "(InteractiveLens for: <aModel>) analyzeText: <text>; yourself",
    "neuronAnalyzer": "NeuronAnalyzer for: <aModel>",
    "inputSequences": "<trainingTexts>",
    "trainingCorpus": "<trainingTexts>",
    "posTaggedSentences": "<trainingTexts> -> <sentimentLabels>",
    "syntaxDataset": "<posTaggedSentences>",
    "attentionAnalysis": "<analyzer> analyzeText: <text>",
    "gradients": "ActivationTensor random: #(16)",
    "maxNorm": "1",
    "vector": "ActivationTensor random: #(16)",
    "vector1": "<vector>",
    "vector2": "<vector>",
    "direction": "<vector>",
    "matrix": "ActivationTensor random: #(6 4)",
    "input": "ActivationTensor random: #(5 6)",
    "weights": "<matrix>",
    "batchInput": "ActivationTensor random: #(2 5 6)",
    "weightMatrix": "<matrix>",
    "queries": "ActivationTensor random: #(5 4)",
    "keys": "ActivationTensor random: #(5 4)",
    "biasVector": "ActivationTensor random: #(768)",
    "attentionTensor": "ActivationTensor random: #(1 4 5 5)",
    "attentionMask": "ActivationTensor ones: #(1 4 5 5)",
    "attentionWeights": "ActivationTensor random: #(1 4 5 5)",
    "attentionScores": "ActivationTensor random: #(1 4 5 5)",
    "logits": "(<aModel> forward: <tokens>) logits",
    "activationData": "(ActivationTensor random: #(1 512 768)) asTypedArray",
    "someData": "<activationData>",
    "largeData": "(ActivationTensor random: #(100 768)) asTypedArray",
    "randomWeights": "(ActivationTensor random: #(1000 768)) asTypedArray",
    "analysisResults": "{<tensor1>. <tensor2>}",
    "indirectObjectExamples": "{NeuroScopeCircuitExample"
    " clean: 'When Mary and John went to the store, John gave a drink to'"
    " corrupted: 'When Mary and John went to the store, Mary gave a drink to'"
    " answer: ' Mary' distractor: ' John'}",
    "exampleSequences": "<indirectObjectExamples>",
    "factualPrompts": "<indirectObjectExamples>",
    "circuit": "<finder> findCircuitFor: 'indirect object identification'"
    " examples: <indirectObjectExamples> method: #attributionPatching threshold: 0.01",
    "inductionCircuit": "<circuit>",
    "discoveredCircuits": "Dictionary new at: #inductionHead put: <circuit>; yourself",
    "targetBehaviors": "#(#inductionHead)",
}
"""A Smalltalk expression for each variable."""

EXAMPLES = ("<indirectObjectExamples>", "<trainingTexts>", "<posTaggedSentences>")
DATA_SETS = {
    **dict.fromkeys(
        (
            "natural-language",
            "code",
            "mathematics",
            "structured-data",
            "name-moving-examples",
            "small-dataset",
            "complexBehavior",
            "copyingMechanism",
            "factualRecall",
        ),
        EXAMPLES[0],
    ),
    **dict.fromkeys(
        ("openwebtext-sample", "pile-sample", "large-corpus", "full-pile"), EXAMPLES[1]
    ),
    **dict.fromkeys(("sentiment", "partOfSpeech", "namedEntity", "syntacticRole"), EXAMPLES[2]),
}
"""Examples of a behaviour, texts, or texts with labels, for each data set that is only named."""
