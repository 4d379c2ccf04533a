import { type Command, Option } from 'commander'
import { err, ok } from 'neverthrow'
import { EFFORTS, type Effort, type Seen } from '../../api/records.ts'
import { type ServerOptions, serverCommand, whenConnected } from '../connection.ts'
import { EXIT } from '../terminal/exit-codes.ts'
import { names, positiveInt, seen } from '../terminal/option-values.ts'
import { print } from '../terminal/print.ts'

type Options = ServerOptions & {
  readonly model?: string
  readonly effort?: Effort | 'default'
  readonly maxOutputTokens?: number
  readonly fallback?: readonly string[]
  readonly maxIterations?: number
  /** False for --no-hitl. */
  readonly hitl?: boolean
  readonly reason?: string
  readonly seen?: Seen
}

/** `retrai configure RUN`: changes the configuration of a run while it works. */
export function configureCommand(): Command {
  return serverCommand('configure')
    .description('Change the configuration of a run, from its next step on.')
    .argument('<run>', 'the id of the run')
    .option('--model <name>', 'the model; "retrai models" lists the models')
    .addOption(
      new Option(
        '--effort <effort>',
        "how much the model may think; default: the model's own",
      ).choices([...EFFORTS, 'default']),
    )
    .option('--max-output-tokens <n>', 'the most tokens of one reply', positiveInt)
    .option('--fallback <models>', 'the models to continue with if it fails, with commas', names)
    .option('--max-iterations <n>', 'the most iterations', positiveInt)
    .option('--hitl', 'wait for a person after every iteration that did not reach the goal')
    .option('--no-hitl', 'do not wait for a person')
    .option('--reason <text>', 'kept in the log')
    .option(
      '--seen <seq:hash>',
      'the last record that you saw: refused if the log has another record there',
      seen,
    )
    .action((runId: string, { reason, seen, ...options }: Options) =>
      whenConnected(options, async ({ client, explain }) => {
        const changed = await client.runs.configure(runId, { ...changesOf(options), reason, seen })
        if (changed.isErr()) return err(explain(changed.error))
        await print(`${changed.value.run_id} ${changed.value.status}`)
        return ok(EXIT.done)
      }),
    )
}

function changesOf({ model, effort, maxOutputTokens, fallback, maxIterations, hitl }: Options) {
  return {
    ...(model === undefined ? {} : { model_name: model }),
    ...(effort === undefined ? {} : { reasoning_effort: effort === 'default' ? null : effort }),
    ...(maxOutputTokens === undefined ? {} : { max_output_tokens: maxOutputTokens }),
    ...(fallback === undefined ? {} : { fallback_models: fallback }),
    ...(maxIterations === undefined ? {} : { max_iterations: maxIterations }),
    ...(hitl === undefined ? {} : { hitl_enabled: hitl }),
  }
}
