import { useSyncExternalStore } from 'react'

const PRINT = matchMedia('print')

function subscribe(onChange: () => void): () => void {
  PRINT.addEventListener('change', onChange)
  return () => PRINT.removeEventListener('change', onChange)
}

/** Whether the page is shown as on paper. It is drawn again before the browser prints it. */
export const usePrinting = (): boolean => useSyncExternalStore(subscribe, () => PRINT.matches)
