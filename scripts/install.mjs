/** npm packages: installed when something in package-lock.json is missing or differs, left alone otherwise. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, run, StepFailed, say } from './process.mjs'

/** Runs `npm ci` in a folder of the repository when its node_modules does not hold what its package-lock.json says. */
export async function installPackages(folder = '.') {
  const reason = whyInstall(join(root, folder))
  if (reason === undefined) return
  say(`Installing npm packages in ${folder} (${reason}) …`)
  const { code, output } = await run('npm', ['ci', '--include=dev', '--no-progress'], {
    cwd: join(root, folder),
    show: 'stderr',
  })
  if (code !== 0)
    throw new StepFailed(`\`npm ci\` in ${folder} ended with code ${code}`, { advice: advise(code, output) })
}

/** Why an install is needed, or undefined. npm keeps in node_modules/.package-lock.json what it has installed. */
function whyInstall(folder) {
  const installedFile = join(folder, 'node_modules', '.package-lock.json')
  if (!existsSync(installedFile)) return 'nothing is installed yet'
  const wanted = readPackages(join(folder, 'package-lock.json'))
  const installed = readPackages(installedFile)
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue
    const found = installed[path]
    // Optional packages are those for other platforms: npm leaves them out, and that is right.
    if (found === undefined && (entry.optional || entry.devOptional || entry.peer)) continue
    if (found === undefined) return `${path} is missing`
    if (found.version !== entry.version) return `${path} is ${found.version}, wanted ${entry.version}`
    if (!existsSync(join(folder, path))) return `${path} was removed`
  }
  return undefined
}

function readPackages(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}

function advise(code, output) {
  if (code === 127)
    return 'npm is not on the PATH. It comes with Node (https://nodejs.org); on Debian: apt-get install npm.'
  if (/ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH|ERR_SOCKET_TIMEOUT/.test(output)) {
    return 'npm cannot reach its registry. Check the network, and `npm config get registry` and `npm config get proxy`; then run this again.'
  }
  if (/Missing: \S+@ from lock file/.test(output)) {
    return 'package-lock.json lacks the packages for other platforms named above. Pin the package that wants them to a version your registry has for every platform.'
  }
  if (/can only install .* in sync|EUSAGE/.test(output)) {
    return 'package.json and package-lock.json disagree. Run `npm install` and commit package-lock.json.'
  }
  if (/ENOSPC/.test(output)) return 'the disk is full. Make room and run this again.'
  if (/EACCES|EPERM/.test(output)) {
    return 'node_modules or the npm cache belongs to another user. Give them back (`chown`) or remove node_modules.'
  }
  return 'read what npm says above. Removing node_modules and running this again helps after an interrupted install.'
}
