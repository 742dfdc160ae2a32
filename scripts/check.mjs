/** `npm run check`: what takes seconds: format, lint, import directions, types. */
import './node-version.mjs'
import { format, imports, install, lint, runSteps, types } from './checks.mjs'

const { ok } = await runSteps([install, format, lint, imports, types])
process.exitCode = ok ? 0 : 1
