"""Every option, its default and its unit. The other configs start from this one and change what
differs.

A default of None means "the rule's own default", and an option that the chosen rule does not take
is an error. Override on the command line: --config.optimizer.learning_rate=3e-4
--config.model.widths='(64,128,256)'; --config.optimizer.momentum=None unsets what a config sets.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0  # everything random is a function of (seed, step)
  config.epochs = 20
  config.max_steps = 0  # updates after which the run ends if its epochs are not over; 0: no limit
  config.batch_size = 128  # over all devices together
  config.gradient_accumulation = 1  # parts of a batch, one after another, where memory is short
  config.parallel = 'jit'  # one program over a device mesh; 'pmap': the same step, mapped
  config.uneven_batch = 'error'  # that does not divide by the devices; 'pad': filled, not counted
  config.devices = 0  # how many devices to use; 0: all
  config.steps_per_dispatch = 0  # 0: one on CPU, as many as fit between two host events elsewhere
  config.tags = ()  # free words that travel with the run
  config.tensorboard = True  # False saves importing TensorFlow: 4 s and 500 MB

  config.data = ConfigDict()
  config.data.name = 'cifar10'  # a TFDS name, or 'synthetic' (built in)
  config.data.dir = ''  # folder, archive or .npz; '': $CIFAR_JAX_DATA and the usual places
  config.data.validation = '0.1'  # held out of train: fraction or count; 'test': the test set
  config.data.validation_from = 'random'  # 'random' (seeded) or 'last' (the end of the arrays)
  config.data.keep_duplicates_together = False  # True: equal images are held out all or none
  config.data.last_batch = 'keep'  # 'keep': short last batch, masked; 'drop'
  config.data.channels = 0  # 1: made grey; 3: grey images repeated; 0: as they are
  config.data.pad_to = 0  # side in pixels of a square with each image in its middle; 0: as it is
  config.data.placement = 'device'  # all images on every device; 'host': a few batches ahead
  # After scaling to 0..1: 'given': mean and std below; 'channel': those of each channel of the
  # training images; 'zca': whitened by the training images.
  config.data.normalize = 'given'
  config.data.mean = (0.0,)  # subtracted; one number, or one a channel
  config.data.std = (1.0,)  # divided by after that
  config.data.zca_images = 10000  # the first of the training set, from which
  config.data.zca_epsilon = 1e-6  # added to the variances

  config.data.folder = ConfigDict()  # for data.name 'folder': image files, one folder a class
  config.data.folder.image_size = (32, 32)  # height and width in pixels
  config.data.folder.resize = 'stretch'  # 'stretch', 'crop' (centre) or 'pad' (black bars)
  config.data.folder.interpolation = 'bilinear'  # 'nearest', 'bilinear' or 'lanczos'
  config.data.folder.damaged = 'error'  # or 'skip': files that cannot be decoded are left out
  config.data.folder.max_megapixels = 64.0  # a larger image counts as damaged, undecoded
  # Decoded once, kept on disk; False: decoded in each epoch by worker processes, placement 'host'.
  config.data.folder.cache = True
  config.data.folder.workers = 0  # threads or processes that decode; 0: one a processor core

  config.augment = ConfigDict()
  config.augment.from_epoch = 0  # the first epoch with it, from 0; mixup and cutmix do not wait
  # Left-right: 'none'; 'random': with probability 1/2; 'alternating': each image in every other
  # epoch, a coin decides in which.
  config.augment.flip = 'none'
  config.augment.vertical_flip = False  # upside down with probability 1/2
  # One affine map for each image, each amount drawn to either side; 0: none.
  config.augment.rotation = 0.0  # degrees
  config.augment.height_shift = 0.0  # of the height
  config.augment.width_shift = 0.0  # of the width
  config.augment.shear = 0.0  # radians
  config.augment.zoom = 0.0  # rows and columns by factors from 1 - zoom to 1 + zoom
  config.augment.interpolation = 'bilinear'  # or 'nearest'
  config.augment.border = 'nearest'  # what comes in: 'nearest' pixel, 'reflect', 'wrap', 'zero'
  config.augment.crop_padding = 0  # pixels of border, then a random crop of the old size
  config.augment.crop_border = 'reflect'  # or 'zero', black
  config.augment.brightness = 0.0  # by a factor from 1 - brightness to 1 + brightness; and so on
  config.augment.contrast = 0.0
  config.augment.saturation = 0.0
  config.augment.hue = 0.0  # turned to either side by up to this part of the circle
  config.augment.policy = 'none'  # 'randaugment' or 'trivialaugment'
  config.augment.policy_operations = 2  # of randaugment, for each image
  config.augment.policy_magnitude = 9  # of randaugment, 0..30
  # After normalisation, so that 0 is the mean.
  config.augment.cutout = 0  # side in pixels of a box somewhere in the image that is set to 0
  config.augment.erasing = 0.0  # probability of a box of random size and shape that is set to 0
  config.augment.mixup = 0.0  # alpha of the weights of two images; 0: none
  config.augment.cutmix = 0.0  # the same, a box of the other image; both: either by a coin

  config.whitening = ConfigDict()
  config.whitening.layer = ''  # a convolution of the images that gets its kernel from the data
  config.whitening.images = 5000  # the first of the training set, from which
  config.whitening.epsilon = 5e-4  # added to the eigenvalues

  config.model = ConfigDict()
  config.model.name = 'conv_net'  # a registered name, or 'package.module:Class'

  config.start_from = ''  # folder of a run whose best checkpoint gives the first parameters

  config.loss = ConfigDict()
  config.loss.label_smoothing = 0.0  # 0..1
  config.loss.class_weights = ()  # factor of the training loss, one a class; (): all 1
  config.loss.l1 = 0.0  # times the sum of the kernels' absolute values, added to the training loss
  config.loss.l2 = 0.0  # times the sum of their squares

  config.optimizer = ConfigDict()
  config.optimizer.name = 'adam'
  config.optimizer.learning_rate = 1e-3
  config.optimizer.momentum = placeholder(float)
  config.optimizer.nesterov = placeholder(bool)
  config.optimizer.rho = placeholder(float)
  config.optimizer.beta1 = placeholder(float)
  config.optimizer.beta2 = placeholder(float)
  config.optimizer.epsilon = placeholder(float)
  config.optimizer.trust = placeholder(float)  # lars
  config.optimizer.weight_decay = placeholder(float)
  config.optimizer.weight_decay_mask = placeholder(str)  # 'kernels' (rank 2 and up) or 'all'
  config.optimizer.gradient_clip_norm = placeholder(float)  # global L2 norm
  config.optimizer.sharpness_radius = placeholder(float)  # SAM: gradients are taken so far uphill
  config.optimizer.max_norm = placeholder(float)  # of the weights of each unit, after each update
  # Parameters that are trained otherwise: NAME = {'pattern': regular expression over whole paths,
  # 'learning_rate_factor': 1.0, 'weight_decay_factor': 1.0, 'schedule_epochs': the schedule over so
  # many epochs, 'frozen_from_epoch': 0 for never trained} and options of another rule.
  config.optimizer.groups = ConfigDict()

  config.schedule = ConfigDict()
  config.schedule.name = 'constant'
  config.schedule.decay = placeholder(float)  # time_decay: rate / (1 + decay * updates)
  config.schedule.boundaries = placeholder(tuple)  # piecewise: epochs
  config.schedule.factors = placeholder(tuple)  # piecewise: of the rate, after each boundary
  config.schedule.factor = placeholder(float)  # exponential: per epoch
  config.schedule.warmup_epochs = placeholder(float)
  config.schedule.peak_epoch = placeholder(float)  # triangular
  config.schedule.start_factor = placeholder(float)  # of the learning rate, at the first step
  config.schedule.end_factor = placeholder(float)  # of the learning rate, at the last step

  # Of weights and moving statistics: 'none'; 'ema', 'swa' (a plain mean) and 'schedule_free' are
  # validated and used in their place; 'lookahead' is written back into them.
  config.average = ConfigDict()
  config.average.name = 'none'
  config.average.every_steps = placeholder(int)
  config.average.decay = placeholder(float)  # of the slow copy, a step; of lookahead at the end
  config.average.power = placeholder(float)  # lookahead: with which it grows to that from 0
  config.average.start_epoch = placeholder(float)  # swa: the first one averaged
  config.average.beta = placeholder(float)  # schedule_free: 1 takes gradients at the average

  config.early_stopping = ConfigDict()  # as Keras's EarlyStopping
  config.early_stopping.patience = 0  # epochs without improvement; 0: none stops the run
  config.early_stopping.monitor = 'val_loss'  # or val_accuracy, train_loss, train_accuracy
  config.early_stopping.min_delta = 0.0  # by which the best value must be beaten
  config.early_stopping.counting = 'keras'  # 'keras2.0' waits for one epoch more

  config.plateau = ConfigDict()  # as Keras's ReduceLROnPlateau, on top of the schedule
  config.plateau.patience = 0  # epochs without improvement; 0: none lowers the rate
  config.plateau.monitor = 'val_loss'  # or val_accuracy, train_loss, train_accuracy
  config.plateau.factor = 0.1  # of the rate
  config.plateau.min_delta = 1e-4  # by which the best value must be beaten
  config.plateau.cooldown = 0  # epochs after a reduction in which none is counted
  config.plateau.min_learning_rate = 0.0
  config.plateau.counting = 'keras'  # 'keras2.0' waits for one epoch more

  config.batch_norm = ConfigDict()
  # Statistics over so many rows each ("ghost" batches); 0: the whole batch, whatever the number of
  # devices; batch_size / devices: each device by itself.
  config.batch_norm.ghost_rows = 0

  config.evaluate = ConfigDict()
  config.evaluate.every_epochs = 1  # validation; 0: only at the end
  config.evaluate.last_batch = 'keep'  # 'drop': validate on whole batches only, as old articles did
  config.evaluate.tta = 'none'  # logits over views of the image: 'flip' (2) or 'flip_translate' (6)
  config.evaluate.pictures_every_epochs = 0  # confusion, mistakes, samples to TensorBoard; 0: never
  config.evaluate.mistakes = 20  # misclassified images among them; -1: all

  config.profile = ConfigDict()  # a trace for TensorBoard and Perfetto, in RUN/tensorboard
  config.profile.steps = 0  # how many updates to record; 0: none
  config.profile.after_steps = 20  # of each session, so that compilation is not recorded

  config.checkpoint = ConfigDict()
  config.checkpoint.every_epochs = 1  # 0: only at the end and on a signal
  config.checkpoint.every_steps = 0  # 0: never between epochs
  config.checkpoint.keep = 2  # the latest ones; the best one is kept beside them
  config.checkpoint.best = 'val_accuracy'  # or 'val_loss'
  return config
