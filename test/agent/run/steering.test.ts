import { ResultAsync } from 'neverthrow'
import { expect, test } from 'vitest'
import type { Script } from '../../../examples/scripted-model/script.ts'
import { findGoal } from '../../../src/checks/catalogue.ts'
import { only, reachGoal, Workshop } from '../support.ts'

const WORDS = 'Leave the API alone.'

/** The first request after a record holds the message, and no request holds it twice. */
function timesHeld(shop: Workshop): number[] {
  return shop.requests.map(({ messages }) => {
    const texts = messages.map(({ content }) => content ?? '')
    return texts.join('\n').split(WORDS).length - 1
  })
}

const PHASES = [
  'first check',
  'project',
  'model',
  'tool',
  'compaction',
  'last check',
  'summary',
] as const
type Phase = (typeof PHASES)[number]

/**
 * Works for 14 turns, and then reaches the goal. The budget is smaller than the tools, so its conversation is summarized
 * several times, and turns are left out between.
 */
function working(reaches: boolean): Script {
  let done = 0
  return ({ messages }) => {
    const asked = messages.at(-1)?.content ?? ''
    if (asked.includes('as text only')) return { text: 'I printed zeros.' }
    done += 1
    if (done < 14) {
      return { calls: [{ tool: 'bash_exec', args: { command: `printf '${done}%0999d'` } }] }
    }
    return done === 14 && reaches ? { calls: [reachGoal] } : { text: `It is done ${done}.` }
  }
}

/** An agent that calls `reached` in each phase before it continues. */
function startAgent(shop: Workshop, reached: (phase: Phase) => Promise<void>): void {
  const { models, toolbox } = shop
  shop.startAgent({
    effects: {
      toolbox: {
        ...toolbox,
        execute: async (call, context) => {
          await reached('tool')
          return toolbox.execute(call, context)
        },
      },
      models: {
        contextBudget: async () => 3_500,
        complete: (request, signal) => {
          const asked = request.messages.at(-1)?.content ?? ''
          const isAside = asked.includes('as text only')
          const aside = asked.includes('The run ends') ? 'summary' : 'compaction'
          const phase = isAside ? aside : 'model'
          const reply = async () => {
            await reached(phase)
            return models.complete(request, signal)
          }
          return new ResultAsync(reply())
        },
      },
      findGoal: (name) => {
        const goal = findGoal(name)
        return {
          ...goal,
          check: async (context) => {
            await reached(shop.requests.length === 0 ? 'first check' : 'last check')
            return goal.check(context)
          },
        }
      },
      readProject: async () => {
        await reached('project')
        return { documents: [], files: null, git: null, programs: null }
      },
    },
  })
}

test.each(PHASES)(
  'a message sent during the phase "%s" is recorded once and sent to the model once',
  async (phase) => {
    await using shop = await Workshop.open(working(phase !== 'summary'))
    let sent = false
    let sentAfter = 0
    const runId = await shop.create({ max_turns_per_iteration: 50, max_iterations: 3 })
    const say = async (): Promise<void> => {
      if (sent) return
      sent = true
      sentAfter = shop.requests.length
      await shop.command(runId, { type: 'send_message', text: WORDS })
    }
    startAgent(shop, async (reached) => {
      if (reached === phase) await say()
    })
    const records = await shop.until(runId, 'run_end')
    expect(only(records, 'user_message').payload.text).toBe(WORDS)
    expect(only(records, 'run_end').payload.achieved).toBe(phase !== 'summary')
    const held = timesHeld(shop)
    expect(Math.max(...held)).toBe(phase === 'summary' ? 0 : 1)
    if (phase === 'summary') return
    // All requests after the first one that holds it hold it too, also after a summary.
    expect(held.slice(held.indexOf(1))).toEqual(held.slice(held.indexOf(1)).map(() => 1))
    expect(held.indexOf(1)).toBeLessThanOrEqual(sentAfter + 1)
  },
)
