/** What makes the map of the heads' effects. */

import { curl, pairs, pythonCall, pythonProgram, smalltalk, smalltalkProgram } from './languages.js';

export function sweepCode(request, threshold) {
  const { clean, corrupted, answer, distractor, stream, ...options } = request.body;
  return {
    curl: curl(request),
    python: pythonProgram(['import numpy as np', 'from bridge.wire import from_record'], [
      `found = ${pythonCall('patch_circuit', request.body)}`,
    ], [
      'effects = from_record(found["effects"], {})',
      `circuit = np.argwhere(np.abs(effects) >= ${threshold})`,
      'for row, head in sorted(circuit, key=lambda part: -abs(effects[*part])):',
      '    print(f"L{found[\'layers\'][row]}H{head} {effects[row, head]:+.2f}")',
    ]),
    smalltalk: smalltalkProgram(options.model, ['reply'], [
      `reply := client\n\tpatchCircuit: ${smalltalk(clean)}\n\tcorrupted: ${smalltalk(corrupted)}\n\tanswer: ${smalltalk(answer)}\n\tdistractor: ${smalltalk(distractor)}\n\toptions: ${pairs(options)}`,
      "NeuroScopeHeatmap of: (ActivationTensor fromRecord: (reply at: 'effects'))",
    ]),
  };
}
