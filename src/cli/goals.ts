import type { Command } from 'commander'
import { err, ok } from 'neverthrow'
import { EXIT } from './exit-codes.ts'
import { print } from './print.ts'
import { type ServerOptions, serverCommand, withServer } from './server.ts'
import { table } from './table.ts'

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
        const lines = json
          ? goals.value.map((goal) => JSON.stringify(goal))
          : table(
              ['GOAL', 'WHAT IT MEANS'],
              goals.value.map(({ name, description }) => [name, description]),
            )
        for (const line of lines) await print(line)
        return ok(EXIT.done)
      }),
    )
}
