/** `celeriac status`: which workers are there. */
import type { Command } from 'commander'
import { withApp } from './connection.ts'
import { addFleetFlags, addressing, type FleetFlags } from './fleet-flags.ts'
import { showReplies } from './replies.ts'

export function addStatusCommand(program: Command): void {
  const command = program
    .command('status')
    .summary('show which workers are there')
    .description('Shows the workers on the broker that answer, also those of Python.')
  addFleetFlags(command)
    .option('--json', 'print one JSON object: the answers by node name')
    .addHelpText(
      'after',
      `
Exit code 1 if no worker answered, or one of -d was silent.

Examples:
  celeriac status -A app.ts
  celeriac status -b redis://localhost -d w1@host -t 5`,
    )
    .action((flags: FleetFlags) =>
      withApp(flags, 'existing', async (app) => {
        showReplies(await app.control.inspect(addressing(flags)).ping(), flags, false)
      }),
    )
}
