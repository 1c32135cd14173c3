"""What must not matter: where the images are and how devices share the work. And numbers to
normalize by.
"""

WAYS = {
  'one device': {'devices': 1},
  'eight': {'devices': 8},
  'mapped': {'devices': 8, 'parallel': 'pmap'},
  'host': {'devices': 1, 'data.placement': 'host'},
  'host, eight': {'devices': 8, 'data.placement': 'host'},
}

GIVEN = {'mean': (0.5, 0.4, 0.3), 'std': (0.25, 0.2, 0.3)}
CHANNEL = {'normalize': 'channel'}
ZCA = {'normalize': 'zca'}
NORMALIZATIONS = {'given': GIVEN, 'channel': CHANNEL, 'zca': ZCA}
