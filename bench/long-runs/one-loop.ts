import { randomUUID } from 'node:crypto'
import type { Effects } from '../../src/agent/effects.ts'
import { systemPrompt } from '../../src/agent/goals/prompt.ts'
import type { Models } from '../../src/agent/model/model.ts'
import type { Toolbox } from '../../src/agent/tools/tool.ts'
import { handleCommand } from '../../src/log/handle-command.ts'
import { load, streamOf } from '../../src/log/run-log.ts'
import type { EventStore } from '../../src/store/event-store.ts'
import { instantEffects } from '../loop/effects.ts'
import { idleGoal } from '../loop/idle-goal.ts'
import { must } from '../loop/must.ts'
import { now, Service } from '../loop/service.ts'
import { NOT_ISOLATED } from '../not-isolated.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { inLetters } from './in-letters.ts'

type Options = {
  readonly turns: number
  readonly outputCharacters: number
  readonly budgetTokens: number
  /** Turns of each stretch that is measured. */
  readonly stretch: number
}

/** What a run cost. */
export type LoopCost = {
  /** Milliseconds of the thread that works on the run, for one turn of each stretch, in their order. */
  readonly msPerTurn: readonly number[]
  readonly records: number
  /** Milliseconds of the clock to fold the whole run, as after a restart. */
  readonly reopenMs: number
}

/** Works on one run as the server does, with a store and projections. Model and tool answer at once. */
export function oneLoop(options: Options): Promise<LoopCost> {
  return inTemporaryFolder(async (folder) => {
    const spent: number[] = []
    const onTurn = (turn: number): void => {
      if (turn % options.stretch !== 0) return
      const { user, system } = process.threadCpuUsage()
      spent.push((user + system) / 1000)
    }
    const service = await Service.open(folder, effectsOf(options, onTurn))
    const runId = await start(service.store, folder, options.turns)
    const records = await lengthAtEnd(service.store, streamOf(runId))
    const began = performance.now()
    must(await load(service.store, runId))
    const reopenMs = performance.now() - began
    await service.close()
    const msPerTurn = spent
      .slice(1)
      .map((at, index) => (at - (spent[index] ?? 0)) / options.stretch)
    return { msPerTurn, records, reopenMs }
  })
}

function effectsOf(options: Options, onTurn: (turn: number) => void): Effects {
  const { outputCharacters, budgetTokens, turns } = options
  let turn = 0
  const complete: Models['complete'] = (request, ...rest) => {
    const asksForSummary = request.messages.length > 2 && request.messages.at(-1)?.role === 'user'
    if (!asksForSummary) onTurn(turn)
    const isOver = asksForSummary || turn === turns
    if (!isOver) turn += 1
    return instantEffects.models.complete(request, ...rest).map((reply) => ({
      ...reply,
      ...(isOver
        ? { text: 'Much was done.', toolCalls: [], finishReason: 'stop' as const }
        : { toolCalls: [{ call_id: `c${turn}`, tool: 'file_read', args: { path: `${turn}` } }] }),
    }))
  }
  const execute: Toolbox['execute'] = async (call, context) => {
    const result = await instantEffects.toolbox.execute(call, context)
    // Each is another text, not only another number: an agent that learns nothing new counts as stuck.
    const output = inLetters(call.call_id).padEnd(outputCharacters, 'x')
    return { ...result, output, bytes: output.length }
  }
  return {
    ...instantEffects,
    models: { complete, contextBudget: async () => budgetTokens },
    toolbox: { ...instantEffects.toolbox, execute },
  }
}

async function start(store: EventStore, cwd: string, turns: number): Promise<string> {
  const runId = randomUUID()
  const limits = { max_cost_usd: null, max_tokens: null, max_seconds: null }
  const config = {
    ...{ goal: idleGoal.name, cwd, model_name: 'm', shell_goal: null, hitl_enabled: false },
    ...{ max_iterations: 1, max_turns_per_iteration: turns + 1, ...limits },
  }
  const command = {
    type: 'create',
    runId,
    config,
    systemPrompt: systemPrompt(config, NOT_ISOLATED),
  } as const
  must(await handleCommand(store, runId, command, { author: { commandId: randomUUID() }, now }))
  return runId
}

/** Waits for the end of the run; returns how many records it has. */
async function lengthAtEnd(store: EventStore, stream: string): Promise<number> {
  const { signal } = new AbortController()
  for await (const item of store.subscribeAll({ after: null, prefix: stream, signal })) {
    if (item.type !== 'events') continue
    const end = item.events.find(({ type }) => type === 'run_end')
    if (end !== undefined) return end.revision + 1
  }
  throw new Error('the subscription ended before the run')
}
