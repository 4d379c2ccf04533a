import { type HotkeyItem, useHotkeys } from '@mantine/hooks'

/** Keys of the page, which do nothing while a dialog is before it. */
export function useShortcuts(shortcuts: readonly HotkeyItem[]): void {
  useHotkeys(
    shortcuts.map(([keys, act, options]) => [
      keys,
      (event) => {
        if (document.querySelector('[aria-modal="true"]') !== null) return
        if (options?.preventDefault !== false) event.preventDefault()
        act(event)
      },
      { ...options, preventDefault: false },
    ]),
  )
}
