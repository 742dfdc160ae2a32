/** `npm run format`: writes formatting, import order and the safe lint fixes. */
import './node-version.mjs'
import { installPackages } from './install.mjs'
import { runBin, script } from './process.mjs'

await script(async () => {
  await installPackages()
  const { code } = await runBin('@biomejs/biome', 'biome', ['check', '--write', '.'], { show: 'terminal' })
  process.exitCode = code
})
