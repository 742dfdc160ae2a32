/** `npm run bench [-- OPTIONS]`: the benchmarks. The systems compared with are packages of bench/ only. */
import './node-version.mjs'
import { runProgram } from './program.mjs'

await runProgram('bench/run.ts', { packagesIn: ['bench'] })
