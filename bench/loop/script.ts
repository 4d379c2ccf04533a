import type { ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'

/** Tool calls of each run, one in each iteration. */
export const ITERATIONS = 5

export const PROMPT = 'Read the notes five times.'
/** Each call reads another file: an agent that repeats a call counts as stuck. */
export const FILES = Array.from({ length: ITERATIONS }, (_, n) => `notes-${n + 1}.txt`)
export const CONTENT = 'A small file that is read again and again.\n'.repeat(20)

/** Asks for each file with the client's own reading tool, then reports that it is done. */
export function script({ tools, turn }: ScriptedRequest): Turn {
  if (tools.length === 0) return { text: 'Reading notes' }
  const file = FILES[turn]
  if (file === undefined) return { text: 'Done.' }
  const call = tools.includes('file_read')
    ? { tool: 'file_read', args: { path: file } }
    : { tool: 'read', args: { filePath: file } }
  return { calls: [call] }
}
