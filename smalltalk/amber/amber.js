// Runs Smalltalk in Amber under Node: node amber.js FILE.st... EXPRESSION
//
// Files in each file, evaluates the expression and prints what it answers: a String as it is,
// anything else by its printString; a Promise is waited for. Exits 1 with the error's class and
// message on stderr if anything fails. With - in place of the expression, reads expressions from
// standard input, a JSON string a line, and prints {"answer"} or {"error"} for each, a line each.
// AMBER names the folder that holds node_modules.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');

const modules = path.join(process.env.AMBER || __dirname, 'node_modules');
const lang = path.join(modules, '@ambers', 'lang');
const requirejs = require(path.join(modules, 'requirejs'));

function describe(error) {
  return error && error._messageText
    ? `${error._class()._name()}: ${error._messageText()}`
    : (error && error.stack) || String(error);
}

function fail(where, error) {
  process.stderr.write(`${where}: ${describe(error)}\n`);
  process.exit(1);
}

function fileIn(globals, file) {
  const importer = globals.Importer._new();
  try {
    importer._import_(fs.readFileSync(file, 'utf8')._stream());
  } catch (error) {
    fail(`${file}, after ${importer._lastSection()}, at ${importer._lastChunk()}`, error);
  }
}

async function evaluate(boot, expression) {
  const answer = await boot.globals.Compiler._new()._evaluateExpression_(expression);
  return typeof answer === 'string' ? answer : boot.asReceiver(answer)._printString();
}

async function serve(boot) {
  console.log = console.error; // what Smalltalk prints is no answer
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const result = await evaluate(boot, JSON.parse(line)).then(
      (answer) => ({ answer }),
      (error) => ({ error: describe(error) }),
    );
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
  process.exit(0);
}

async function run(boot, amber) {
  await amber.api.initialize();
  await boot.globals.Smalltalk._adoptPackageDescriptors();
  const files = process.argv.slice(2, -1);
  const expression = process.argv[process.argv.length - 1];
  files.forEach((file) => fileIn(boot.globals, file));
  if (expression === '-') return serve(boot);
  const text = await evaluate(boot, expression);
  return process.stdout.write(`${text}\n`, () => process.exit(0));
}

const load = requirejs.config({
  context: 'neuroscope',
  nodeRequire: require,
  paths: {
    amber: path.join(lang, 'base'),
    'amber/core': path.join(lang, 'src'),
    text: path.join(modules, 'requirejs-text', 'text'),
  },
  map: { '*': { amber_core: 'amber/core' } },
});
load(
  ['amber/boot', 'amber/lang', 'amber/core/Platform-Node', 'amber/core/SUnit'],
  (boot, amber) => void run(boot, amber).catch((error) => fail('evaluation', error)),
  (error) => fail('loading Amber', error),
);
