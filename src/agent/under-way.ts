import type { Attempt } from '../live/attempt.ts'
import type { LiveParts } from '../live/live-parts.ts'
import type { ModelPart } from './model/model.ts'
import type { RunSession, StepResult } from './run-session.ts'

/**
 * Does an effect and records its outcome. Until then, observers may follow its parts. An effect that fails should
 * withdraw its parts before it records the failure.
 */
export async function underWay(
  session: Pick<RunSession, 'state'>,
  live: LiveParts | undefined,
  effect: (attempt: Attempt | null) => Promise<StepResult>,
): Promise<StepResult> {
  if (live === undefined) return effect(null)
  const { runId, iteration, seq, config } = session.state
  const attempt = live.begin({ runId, goal: config.goal, iteration, seq })
  try {
    const recorded = await effect(attempt)
    if (recorded.isOk()) attempt.end({ recordedUpTo: session.state.seq })
    return recorded
  } finally {
    attempt.end('withdrawn')
  }
}

/** Writes the parts of a reply while it comes. */
export function writeReply(attempt: Attempt | null): (part: ModelPart) => void {
  const tools: string[] = []
  return (part) => {
    switch (part.type) {
      case 'text':
      case 'reasoning':
        attempt?.write({ of: part.type }, part.text)
        break
      case 'call':
        tools[part.index] = part.tool
        attempt?.write({ of: 'arguments', call: part.index, tool: part.tool }, '')
        break
      case 'arguments': {
        const tool = tools[part.index] ?? ''
        attempt?.write({ of: 'arguments', call: part.index, tool }, part.text)
        break
      }
    }
  }
}
