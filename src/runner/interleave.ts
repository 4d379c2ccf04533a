/** More than this does not wait for the other side, in characters. */
const MOST_WAITING = 64_000

/** Adds text of one side; `holds` says whether more of it is held back, that came before what follows. */
type Add = (text: string, holds: boolean) => void

/**
 * Joins two texts in the order in which they come: while a part of one is held back, the other waits for
 * it. A side that holds nothing back any more lets go of what waits for it.
 */
export function interleave(add: (text: string) => void): readonly [Add, Add] {
  const first = { holds: false, waiting: '' }
  const second = { holds: false, waiting: '' }
  const release = (side: typeof first): void => {
    add(side.waiting)
    side.waiting = ''
  }
  const adder =
    (side: typeof first, other: typeof first): Add =>
    (text, holds) => {
      side.holds = holds
      if (other.holds) {
        side.waiting += text
        if (side.waiting.length > MOST_WAITING) release(side)
      } else {
        add(text)
      }
      if (!holds) release(other)
    }
  return [adder(first, second), adder(second, first)]
}
