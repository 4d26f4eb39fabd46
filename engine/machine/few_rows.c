/* Products of a few rows with a large matrix, in place of the BLAS's cblas_sgemm.

   A BLAS copies ("packs") the whole matrix before it multiplies, which pays for many rows. For one
   row, as in each step of a generation, the copy costs several times the product: here the matrix
   is read once, in order. Loaded before the BLAS, this cblas_sgemm is the one that MLX finds. */

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, FEW = 4 };

typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef void sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int,
                   float, float *, int);
typedef void sgemv(int, int, int, int, float, const float *, int, const float *, int, float,
                   float *, int);

static sgemm *many;
static sgemv *one;
static int threads;

/* The BLAS's own products, and how many threads it uses. */
void few_rows_by(sgemm *blas_sgemm, sgemv *blas_sgemv, int blas_threads) {
  many = blas_sgemm;
  one = blas_sgemv;
  threads = blas_threads;
}

/* c[r, i] = alpha * (x[r] . w[i]) + beta * c[r, i] for `rows` of x and all `n` of w, `k` wide. */
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void dots(int rows, int n, int k, float alpha, const float *x, long ldx, const float *w,
                 long ldw, float beta, float *c, long ldc, long step) {
  for (long i = 0; i < n; i++)
    for (long r = 0; r < rows; r++) {
      const float *p = w + i * ldw, *q = x + r * ldx;
      lanes sums = {0};
      float sum = 0;
      int j = 0;
      for (; j + 16 <= k; j += 16) sums += *(const lanes *)(p + j) * *(const lanes *)(q + j);
      for (; j < k; j++) sum += p[j] * q[j];
      for (int lane = 0; lane < 16; lane++) sum += sums[lane];
      float *to = c + r * ldc + i * step;
      *to = alpha * sum + (beta == 0 ? 0 : beta * *to);
    }
}

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
                 int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  int plain_a = ta == PLAIN, plain_b = tb == PLAIN;
  if (order != ROW_MAJOR || k == 0)
    many(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  else if (threads == 1 && m <= FEW && plain_a && !plain_b)
    dots(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1);
  else if (threads == 1 && n == 1 && plain_a && (!plain_b || ldb == 1))
    dots(1, m, k, alpha, b, 0, a, lda, beta, c, 0, ldc);
  else if (m == 1)
    one(order, plain_b ? TRANSPOSED : PLAIN, plain_b ? k : n, plain_b ? n : k, alpha, b, ldb, a,
        plain_a ? 1 : lda, beta, c, 1);
  else if (n == 1)
    one(order, ta, plain_a ? m : k, plain_a ? k : m, alpha, a, lda, b, plain_b ? ldb : 1, beta, c,
        ldc);
  else
    many(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
