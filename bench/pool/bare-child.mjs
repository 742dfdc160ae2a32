/** A bare child: is told its work, does it piece by piece, and says how long it took. */
import { burn, warmUp } from './burn.mjs'

process.on('disconnect', () => process.exit(1))
warmUp()
process.on('message', (pieces) => {
  const start = performance.now()
  let did = 0
  for (const rounds of pieces) {
    burn(rounds)
    did += 1
  }
  process.send({ ms: performance.now() - start, did })
})
process.send('ready')
