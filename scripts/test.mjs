/** `npm test`: every check there is, the quick ones first. CI runs this and nothing else. */
import './node-version.mjs'
import * as checks from './checks.mjs'

const { install, format, lint, imports, types, compile, publint, attw, servers, vitest } = checks
const steps = [install, format, lint, imports, types, compile, publint, attw, servers, vitest]
const { ok, tests } = await checks.runSteps(steps)
if (!ok) console.error('\nnpm test: FAILED, see the steps above')
// The one line on stdout that is ours: the tests' counts, in the form CI reads.
if (tests) console.log(`\n${tests.passed} passed, ${tests.failed} failed`)
process.exitCode = ok ? 0 : 1
