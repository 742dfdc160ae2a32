/** `npm start [-- OPTIONS]`: the warehouse demo, from a fresh clone on. */
import './node-version.mjs'
import { runProgram } from './program.mjs'

await runProgram('examples/warehouse/run.ts')
