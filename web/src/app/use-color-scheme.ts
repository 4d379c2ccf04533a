import { useComputedColorScheme, useMantineColorScheme } from '@mantine/core'

/** The scheme that is shown: the system's, until a person chooses one. */
export function useColorScheme() {
  const { setColorScheme } = useMantineColorScheme()
  const shown = useComputedColorScheme('light', { getInitialValueInEffect: false })
  return { shown, toggle: () => setColorScheme(shown === 'dark' ? 'light' : 'dark') }
}
