import { masksIn } from '../../domain/mask/finder.ts'
import { processMask } from '../../log/masking.ts'
import { type ConfinedPath, openForReading, readAtMost } from './confine.ts'

/** What a model can have read of a file: more is not compared. */
const MAX_BYTES = 16 * 1024 * 1024

/**
 * The masks in a new content of a file under which the file holds secrets. A model that was shown a mask
 * and writes the file anew would put the mask in the place of the secret, which then is lost.
 */
export async function lostSecrets(path: ConfinedPath, content: string): Promise<string[]> {
  const masks = masksIn(content)
  if (masks.length === 0) return []
  const opened = await openForReading(path)
  if (opened.isErr()) return []
  const { file, stats } = opened.value
  try {
    const content = stats.size > MAX_BYTES ? null : await readAtMost(file, MAX_BYTES)
    const text = content?.toString() ?? ''
    const shown = processMask.text(text)
    return masks.filter((mask) => shown.includes(mask) && !text.includes(mask))
  } finally {
    await file.close()
  }
}
