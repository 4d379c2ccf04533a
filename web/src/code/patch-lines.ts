import { diffLines } from 'diff'

export type PatchLine = { readonly type: 'same' | 'removed' | 'added'; readonly text: string }

/** After this time, the whole old text is shown as removed and the whole new one as added. */
const TIMEOUT_MS = 200

/** The lines of the old and the new text, merged into one list. */
export function patchLines(old: string, fresh: string): PatchLine[] {
  const parts = diffLines(old, fresh, { timeout: TIMEOUT_MS })
  if (parts !== undefined) return parts.flatMap(linesOf)
  const whole = (type: PatchLine['type'], text: string): PatchLine[] =>
    split(text).map((line) => ({ type, text: line }))
  return [...whole('removed', old), ...whole('added', fresh)]
}

function linesOf(part: { value: string; added: boolean; removed: boolean }): PatchLine[] {
  const type = part.added ? 'added' : part.removed ? 'removed' : 'same'
  return split(part.value).map((text) => ({ type, text }))
}

const split = (text: string): string[] => text.replace(/\n$/, '').split('\n')
