/** What makes the picture of a layer's attention. */

import { curl, python, pythonCall, pythonProgram, smalltalk, smalltalkProgram } from './languages.js';

export function attentionCode(request, layer) {
  const { model, prompt } = request.body;
  return {
    curl: curl(request),
    python: pythonProgram(['from bridge.wire import from_record'], [
      `result = ${pythonCall('forward', request.body)}`,
    ], [
      `(record,) = result["activations"][${python(`layer_${layer}_attention_pattern`)}]`,
      'pattern = from_record(record, {})[0]',
      'print(result["texts"][0])',
      'print(pattern.shape, pattern.round(3).tolist())',
    ]),
    smalltalk: smalltalkProgram(model, ['output'], [
      `output := model capture: ${smalltalk(prompt)} layers: #(${layer}) components: #(#attentionPattern)`,
      `(AttentionVisualizer for: model)\n\tcreateHeatmap: (output at: ${layer} at: #attentionPattern)\n\ttokens: output texts\n\tlayer: ${layer}`,
    ]),
  };
}
