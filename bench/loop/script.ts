import type { ScriptedRequest, Turn } from '../../examples/scripted-model/script.ts'

/** Tool calls, and so iterations, of each run. */
export const ITERATIONS = 5

export const PROMPT = 'Read the notes five times.'
export const FILE = 'notes.txt'
export const CONTENT = 'A small file that is read again and again.\n'.repeat(20)

/** Asks for the file with the client's own reading tool, then reports that it is done. */
export function script({ tools, turn }: ScriptedRequest): Turn {
  if (tools.length === 0) return { text: 'Reading notes' }
  if (turn >= ITERATIONS) return { text: 'Done.' }
  const call = tools.includes('file_read')
    ? { tool: 'file_read', args: { path: FILE } }
    : { tool: 'read', args: { filePath: FILE } }
  return { calls: [call] }
}
