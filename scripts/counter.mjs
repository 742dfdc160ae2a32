/** `npm run counter [-- OPTIONS]`: the smallest example, from a fresh clone on. */
import './node-version.mjs'
import { runProgram } from './program.mjs'

await runProgram('examples/counter/run.ts')
