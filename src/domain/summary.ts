import { filesWritten } from './compaction.ts'
import { type Conversation, turnCount } from './conversation.ts'
import type { RunState } from './state.ts'

/** Longer summaries are cut. */
export const MAX_SUMMARY_CHARACTERS = 8_000
/** What is quoted of the last reply. */
const QUOTED_CHARACTERS = 1_000

/** What the model is asked before its first turns are left out of the conversation. */
export const COMPACTION_REQUEST = `Your conversation has nearly filled your context window, so its first turns are about to be replaced by a summary. Write it now, as text only: a call would not be run.

Write what you need to continue with nothing but this summary, your task, the messages of people, the last check and your latest turns. Use these headings:
# Goal and constraints
# Done: which files, and why
# In progress
# Failures that are not solved: exact commands and messages
# Decisions and findings
# Next steps

Keep paths, names, commands and messages exactly as they are. Leave out what is no longer needed. At most 1,500 words.`

/** What the model is asked at the end of a run that has not reached its goal. */
export const summaryRequest = (reason: string): string =>
  `The run ends now. ${reason}.

Write a summary for the person who started it, as text only: a call would not be run. Say what you changed and where (path:line), what you found out, what does not work yet, and what you would try next. Only facts, at most 200 words.`

/** A summary of a run that its model did not write. */
export function factualSummary(state: RunState, conversation: Conversation): string {
  const { iteration, goal, total } = state
  const cost = total.costUsd === null ? 'at an unknown price' : `for $${total.costUsd.toFixed(4)}`
  const files = filesWritten(conversation)
  const words = conversation.turns?.turn.reply.text?.trim() ?? ''
  return [
    `The agent worked through ${iteration} iterations with ${turnCount(conversation)} replies: ${total.tokens} tokens, ${cost}.`,
    `The last check of the goal: ${goal?.reason ?? 'none'}.`,
    files.length === 0
      ? 'It wrote no files by name.'
      : `It wrote these files: ${files.join(', ')}.`,
    ...(words === ''
      ? []
      : [`Its last words: ${words.slice(0, QUOTED_CHARACTERS).toWellFormed()}`]),
  ].join('\n')
}
