import type { Command } from 'commander'
import { err, ok } from 'neverthrow'
import { type ServerOptions, serverCommand, withServer } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { print, printJson, table } from '../terminal/print.ts'

type Options = ServerOptions & { readonly json?: boolean }

/** `retrai goals`: what runs can be started for. */
export function goalsCommand(): Command {
  return serverCommand('goals')
    .description('List the goals that a run can have.')
    .option('--json', 'print each goal as JSON, one a line')
    .action(({ json = false, ...options }: Options) =>
      withServer(options, async ({ client, explain }) => {
        const goals = await client.goals()
        if (goals.isErr()) return err(explain(goals.error))
        const rows = goals.value.map(({ name, description }) => [name, description])
        if (json) for (const goal of goals.value) await printJson(goal)
        else for (const line of table(['GOAL', 'WHAT IT MEANS'], rows)) await print(line)
        return ok(EXIT.done)
      }),
    )
}
