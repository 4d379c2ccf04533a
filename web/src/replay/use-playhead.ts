import { useCallback, useEffect, useState } from 'react'
import { hashOf, seqFromHash } from './playhead.ts'

export type Playhead = {
  /** The seq of the record that is shown; null follows the newest. */
  readonly at: number | null
  readonly seek: (at: number | null) => void
}

/** Browsers refuse to change the address too often. */
const WRITE_AFTER_MS = 250

/** The record that is shown, kept in the address so that it can be shared and reloaded. */
export function usePlayhead(): Playhead {
  const [at, setAt] = useState(() => seqFromHash(location.hash))
  useEffect(() => {
    const read = (): void => setAt(seqFromHash(location.hash))
    window.addEventListener('hashchange', read)
    return () => window.removeEventListener('hashchange', read)
  }, [])
  useEffect(() => {
    const timer = setTimeout(() => {
      if (location.hash === hashOf(at)) return
      history.replaceState(history.state, '', location.pathname + location.search + hashOf(at))
    }, WRITE_AFTER_MS)
    return () => clearTimeout(timer)
  }, [at])
  return { at, seek: useCallback((next: number | null) => setAt(next), []) }
}
